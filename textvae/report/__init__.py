"""What a finished run shows: its table, its samples and its model card."""

from textvae.report.model_card import write_report

__all__ = ["write_report"]
