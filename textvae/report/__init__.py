"""What a finished run shows: its table, its samples and its model card.

The run writes `metrics.json` and the model card `README.md` into its output directory, and prints table and samples.

The card has what the Hub reads: language and licence (`--language en --license apache-2.0`), base models and dataset
where they are on the Hub, and the metrics. It shows samples from the prior. Held-out texts, with their
reconstructions, paths and paraphrases, stand in it only for the embedded corpus or with `--card_examples true`, because
`push_to_hub` publishes the card.

`textvae report runs/chitchat --file mine.txt` writes a page about any saved model, seen on texts that should be new to
it: `page.write_page`, with `plots` and `tail`. It is one HTML file that needs nothing else, with a style for light and
dark screens, phones and paper. Its sections:

- measures with their units and meanings; with `--judge_encoder` also those of walks;
- the curves of the run, from the `history.jsonl` that training writes into its directory (not there for a model from
  before, or from the Hub: the page says so);
- the KL of each dimension, sorted;
- samples, texts written back, walks, paraphrases, and the ten most active dimensions of one text moved;
- a map of z by its two principal components, coloured by label;
- the most unusual texts, the least expected tokens marked: with p-values if a detector is saved with the model, or else
  by −ELBO per token.

A model without z has measures, curves, samples and the tail; one of pairs has no tail. All texts of the page are quoted
from the file: mind that before you publish it.
"""

from textvae.report.model_card import About, model_card
from textvae.report.page import PageSettings, write_page
from textvae.report.report import write_report

__all__ = ["About", "PageSettings", "model_card", "write_page", "write_report"]
