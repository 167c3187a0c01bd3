"""What a finished run shows: its table, its samples and its model card.

The run writes `metrics.json` and the model card `README.md` into its output directory, and prints table and samples.

The card has what the Hub reads: language and licence (`--language en --license apache-2.0`), base models and dataset
where they are on the Hub, and the metrics. It shows samples from the prior. Held-out texts, with their
reconstructions, paths and paraphrases, stand in it only for the embedded corpus or with `--card_examples true`, because
`push_to_hub` publishes the card.
"""

from textvae.report.model_card import About, model_card
from textvae.report.report import write_report

__all__ = ["About", "model_card", "write_report"]
