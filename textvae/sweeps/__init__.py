"""Runs that differ in a few settings: the sweep file, the runs, and how they compare."""

from textvae.sweeps.compare import Outcome
from textvae.sweeps.file import Sweep, read_sweep

__all__ = ["Outcome", "Sweep", "read_sweep"]
