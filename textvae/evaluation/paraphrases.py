"""Paraphrases, measured: by what people wrote, by how much they differ from their source, by meaning and by fluency.

N texts · K references of each
"""

from collections.abc import Mapping, Sequence

import numpy as np
import sacrebleu

from textvae.data.words import separate_words
from textvae.errors import InputError
from textvae.evaluation.judges import Judges
from textvae.evaluation.quality import fluency
from textvae.evaluation.table import as_markdown

ALPHA = 0.8  # of iBLEU
COPY, RANDOM, HUMAN = "copy of the source", "another source, at random", "a reference, among the others"
TITLES = {
    "ibleu": "iBLEU",
    "bleu": "BLEU to references",
    "self_bleu": "BLEU to source",
    "similarity": "similarity to source",
    "fluency": "fluency, nats per token",
}


class ParaphraseMeasures:
    """The measures of one paraphrase for each of N sources, given K references of each.

    - `bleu`: corpus BLEU to all references, and `self_bleu` to the source; sacrebleu in lower case, 0 to 100.
    - `ibleu`: 0.8 · `bleu` − 0.2 · `self_bleu` (Sun & Zhou 2012). It pays for any text that is not the source, even a
      random one: read it with the similarity.
    - `similarity`: mean cosine of the embeddings of paraphrase and source, with a judge that is a sentence encoder.
    - `fluency`: nats per token, with a judge that is a language model; see [`textvae.evaluation`].
    """

    def __init__(self, sources: Sequence[str], references: Sequence[Sequence[str]], judges: Judges):
        """`references` are K lists of N texts; raises InputError without one, or if their lengths differ."""
        if not references or {len(texts) for texts in references} != {len(sources)} or len(sources) < 2:
            raise InputError("Paraphrases are measured on at least 2 texts, with a reference of each, or several.")
        self.sources, self.references, self.judges = list(sources), [list(texts) for texts in references], judges
        self.embedded = None if judges.encoder is None else judges.encoder.embed(self.sources)  # (N, H)

    def of(self, written: Sequence[str], references: Sequence[Sequence[str]] | None = None) -> dict[str, float]:
        """The measures of N paraphrases; `references` replaces those of all systems.

        Raises:
            InputError: if there are not N paraphrases.
        """
        if len(written) != len(self.sources):
            raise InputError(f"There are {len(written)} paraphrases of {len(self.sources)} texts: give one of each.")
        bleu = lower_bleu(written, self.references if references is None else references)
        self_bleu = lower_bleu(written, [self.sources])
        found = {"ibleu": ALPHA * bleu - (1 - ALPHA) * self_bleu, "bleu": bleu, "self_bleu": self_bleu}
        if self.judges.encoder is not None and self.embedded is not None:
            cosines = (self.judges.encoder.embed(written) * self.embedded).sum(1)
            found["similarity"] = float(cosines.mean())
        if self.judges.language_model is not None:
            found |= fluency(self.judges.language_model, "fluency", written)
        return found

    def baselines(self, seed: int = 0) -> dict[str, dict[str, float]]:
        """The measures of a copy of the source, of the source of another text, and of what people wrote.

        The last are means over the K references, each measured with the K − 1 others; so it has a reference less than
        the other rows. With one reference there is no such row.
        """
        order = np.random.default_rng(seed).permutation(len(self.sources))
        others = [self.sources[i] for i in order[np.argsort(order) - 1]]  # in a circle, so that none is its own
        rows = {COPY: self.of(self.sources), RANDOM: self.of(others)}
        if len(self.references) > 1:
            pairs = [(one, [*self.references[:k], *self.references[k + 1 :]]) for k, one in enumerate(self.references)]
            human = [self.of(*pair) for pair in pairs]
            rows[HUMAN] = {name: float(np.mean([one[name] for one in human])) for name in human[0]}
        return rows


def lower_bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Corpus BLEU, 0 to 100, in lower case, with K references of each text: K lists (Papineni et al. 2002; Post 2018).

    In scripts without spaces, such as Chinese, each character counts as a word.
    """
    written, *given = [[separate_words(text) for text in texts] for texts in (hypotheses, *references)]
    return sacrebleu.corpus_bleu(written, given, lowercase=True, force=True).score


def paraphrase_table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """The measures of each row as a Markdown table."""
    measured = [name for name in TITLES if all(name in row for row in rows.values())]
    decimals = {"similarity": 3}
    cells = [[title, *(f"{row[name]:.{decimals.get(name, 2)}f}" for name in measured)] for title, row in rows.items()]
    return as_markdown(["", *(TITLES[name] for name in measured)], cells, right=True)
