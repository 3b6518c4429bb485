"""The native backend: whole epochs in one call of compiled code, without the GIL."""

from .engine import Plan
from .tables import Kernels, cpu_level, cpu_levels, fma_peak, runs

__all__ = ["Kernels", "Plan", "cpu_level", "cpu_levels", "fma_peak", "runs"]
