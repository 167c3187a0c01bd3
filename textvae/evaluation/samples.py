"""Texts that a model made up, measured: how fluent, how varied, and how near to real ones they are.

N texts
"""

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from textvae.errors import InputError
from textvae.evaluation.judges import Judges
from textvae.evaluation.mauve import mauve
from textvae.evaluation.metrics import distinct_bigrams
from textvae.evaluation.ngrams import NGramModel
from textvae.evaluation.paraphrases import lower_bleu
from textvae.evaluation.quality import fluency
from textvae.evaluation.table import as_markdown

OTHERS = 50  # texts that each one is compared with for self-BLEU
TITLES = {
    "latent_nats": "held-out z, nats",
    "forward_perplexity": "forward perplexity",
    "reverse_perplexity": "reverse perplexity",
    "distinct_2": "distinct-2",
    "self_bleu": "self-BLEU",
    "mauve": "MAUVE",
}
DECIMALS = {"latent_nats": 2, "distinct_2": 3, "mauve": 3}


class SampleMeasures:
    """The measures of N texts that were made up, beside N held-out ones. Compare values of the same N only.

    - `forward_perplexity`: per token of a judge that is a language model; low for fluent texts, and lowest for the same
      usual text again and again.
    - `reverse_perplexity`: per word of the held-out texts under trigrams that are fitted to the samples (Zhao et al.
      2018); low for samples that have the words and phrases of real texts, and all of them.
    - `distinct_2`: the share of distinct word bigrams.
    - `self_bleu`: BLEU of each text with 50 others as its references (Zhu et al. 2018), 0 to 100; lower for more
      varied texts.
    - `mauve`: nearness to the held-out texts, with a judge that is a sentence encoder; see [`textvae.evaluation`].
    """

    def __init__(self, held_out: Sequence[str], vocabulary: Collection[str], judges: Judges, seed: int = 0):
        """`vocabulary` holds the words that trigrams may know; raises InputError for fewer than 2 held-out texts."""
        if len(held_out) < 2:
            raise InputError(f"Samples are measured beside 2 held-out texts at least, and there are {len(held_out)}.")
        self.held_out, self.vocabulary, self.judges, self.seed = list(held_out), vocabulary, judges, seed
        self.embedded = None if judges.encoder is None else judges.encoder.embed(self.held_out)  # (N, H)

    def of(self, samples: Sequence[str]) -> dict[str, float]:
        """The measures of N samples; raises InputError for another number of them."""
        if len(samples) != len(self.held_out):
            raise InputError(f"There are {len(samples)} samples and {len(self.held_out)} held-out texts: give as many.")
        found = {}
        if self.judges.language_model is not None:
            found["forward_perplexity"] = math.exp(fluency(self.judges.language_model, "nats", samples)["nats"])
        found["reverse_perplexity"] = NGramModel(samples, self.vocabulary).perplexity(self.held_out)
        found |= {"distinct_2": distinct_bigrams(samples), "self_bleu": self_bleu(samples, self.seed)}
        if self.judges.encoder is not None and self.embedded is not None:
            found["mauve"] = mauve(self.judges.encoder.embed(samples), self.embedded, self.seed)
        return found


def self_bleu(texts: Sequence[str], seed: int = 0) -> float:
    """Corpus BLEU, 0 to 100, of each text with 50 others as its references, or with all if there are fewer.

    The others are those that follow it in an order that `seed` gives; case does not count.

    Raises:
        InputError: if there are fewer than two texts.
    """
    if len(texts) < 2:
        raise InputError(f"Self-BLEU compares a text with others, and there are {len(texts)} texts: give more.")
    order = [texts[int(row)] for row in np.random.default_rng(seed).permutation(len(texts))]
    others = min(OTHERS, len(order) - 1)
    return lower_bleu(order, [order[step:] + order[:step] for step in range(1, others + 1)])


def sample_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """The measures of each row as a Markdown table; a measure that a row does not have is an empty cell."""
    measured = [name for name in TITLES if any(name in row for row in rows.values())]
    cells = [[title, *(_cell(row, name) for name in measured)] for title, row in rows.items()]
    return as_markdown(["z from", *(TITLES[name] for name in measured)], cells, right=True)


def _cell(row: Mapping[str, float], name: str) -> str:
    return f"{row[name]:.{DECIMALS.get(name, 1)}f}" if name in row else ""
