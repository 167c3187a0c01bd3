"""A run from its settings to a saved pipeline, on one process or many.

`train` is the loop; `setup` makes what it needs.
"""

from textvae.training.config import CONFIG_FILE, TrainingConfig
from textvae.training.train import train

__all__ = ["CONFIG_FILE", "TrainingConfig", "train"]
