"""The asv suite.  The conditions come before everything else that a process loads."""

from . import conditions  # noqa: F401
