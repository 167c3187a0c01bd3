"""What a finished run shows: its table, its samples and its model card.

The run prints them and writes `metrics.json` and the model card `README.md` into its output directory.
"""

from textvae.report.model_card import write_report

__all__ = ["write_report"]
