"""The formulas, and nothing else: a Python text here, its C twin in the header of the same name."""

from . import activations, losses, updates  # noqa: F401  (each fills its table)
from .table import ACTIVATIONS, LOSSES, UPDATES

__all__ = ["ACTIVATIONS", "LOSSES", "UPDATES"]
