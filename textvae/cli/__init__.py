"""The command line: flags, and one sentence with exit code 2 for bad input and for files that cannot be used.

An `OSError` (a full disk, a cache that cannot be written) becomes such a sentence in `main.run`, and nowhere else.
Every field of `TrainingConfig` is a flag. Flags win over the YAML file of `--config`.
"""

from textvae.cli.arguments import parse_training_config, parse_with_training_flags
from textvae.cli.main import run

__all__ = ["parse_training_config", "parse_with_training_flags", "run"]
