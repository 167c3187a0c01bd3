"""Rankings: how good a paraphrase of its text each candidate is; the best has the highest score.

N texts · M candidates of a text, perhaps another number for each · Z latent_size
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from textvae.data.inference_batches import InferenceBatches
from textvae.data.words import bare_words, shared_words
from textvae.errors import InputError, shown
from textvae.evaluation.judges import SentenceEncoder
from textvae.pipeline.codec import Codec
from textvae.pipeline.score import sums, token_nll

Posteriors = tuple[Tensor, Tensor]  # mean and standard deviation, (N, Z) each
Reranker = Callable[[list[str], list[list[str]]], Sequence[Sequence[float] | Tensor]]
# codec, the N texts, their posteriors, the candidates of each → the scores (M,) of each
Ranking = Callable[[Codec, InferenceBatches, Posteriors, list[list[str]]], list[Tensor]]

WEIGHT_OF_CLOSENESS = 0.25  # measured, see the lab book


def as_ranking(reranker: Reranker | str | Path | None, device: torch.device) -> Ranking:
    """That of a function, of a sentence encoder, or of the model if there is none.

    Raises:
        InputError: if the encoder cannot be opened, or this is none of them.
    """
    return by_model if reranker is None else partial(by_reranker, as_reranker(reranker, device))


def as_reranker(reranker: Reranker | str | Path, device: torch.device) -> Reranker:
    """This function, or that of the sentence encoder with this name or path; raises InputError if it is neither."""
    if isinstance(reranker, str | Path):
        return partial(cosines, SentenceEncoder(str(reranker), device))
    if not callable(reranker):
        raise InputError(f"reranker is {shown(reranker)}, it must be a function, or the name of a sentence encoder.")
    return reranker


def by_model(
    codec: Codec, source: InferenceBatches, posteriors: Posteriors, candidates: list[list[str]]
) -> list[Tensor]:
    """log p(y|z) + 0.25 · log q(z′|x) / q(z|x) of each candidate y of a text x, in nats; at most 0.

    z and z′ are the posterior means of x and of y. The first term is what the decoder thinks of y, told what x says: it
    falls with each word that is odd, or that x gives no reason for. The second says how near to x the model reads y; it
    is 0 if z′ is z.
    """
    read, owners = codec.read_back(candidates, source.label_ids)
    mean, stddev = (part[owners] for part in posteriors)
    apart = (codec.posteriors(read)[0] - mean) / stddev
    nll = torch.tensor(sums(token_nll(codec, read, mean)))
    scores = -nll - WEIGHT_OF_CLOSENESS * apart.square().sum(1) / 2
    return list(scores.split([*map(len, candidates)]))


def by_reranker(
    reranker: Reranker,
    codec: Codec,
    source: InferenceBatches,
    posteriors: Posteriors,
    candidates: list[list[str]],
) -> list[Tensor]:
    """The scores that the reranker gives; raises InputError if they are not one number for each candidate."""
    found = reranker(list(source.texts), [list(texts) for texts in candidates])
    try:
        scores = [torch.as_tensor(own, dtype=torch.float32) for own in found]
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"reranker gave {shown(found)}, it must give a list of numbers for each text.") from error
    if [own.shape for own in scores] != [(len(texts),) for texts in candidates]:
        raise InputError("reranker must give a list for each text, with one number for each of its candidates.")
    if any(own.isnan().any() for own in scores):
        raise InputError("reranker gave a NaN: give numbers.")
    return scores


def diverse(texts: Sequence[str], scores: Tensor, wanted: int, diversity: float) -> list[int]:
    """Which texts to choose by these scores (M,) and how few words they share; their rows, in the order of choice.

    Maximal marginal relevance (Carbonell and Goldstein 1998), with λ = 1 − `diversity`: each choice is the text with
    the most (1 − diversity) · relevance − diversity · the greatest similarity with one that was chosen. Relevance is 1
    for the best score and 0 for the last, in equal steps, so that the unit of the scores does not matter. Similarity is
    the share of common words, see `shared_words`. With 0 these are the best ones in order; equal ones stay in order.
    """
    left = scores.argsort(descending=True, stable=True).tolist()
    relevance = {row: 1 - place / max(1, len(left) - 1) for place, row in enumerate(left)}
    words, chosen = [*map(bare_words, texts)], []

    def worth(row: int) -> float:
        alike = max((shared_words(words[row], words[other]) for other in chosen), default=0)
        return (1 - diversity) * relevance[row] - diversity * alike

    while left and len(chosen) < wanted:
        best = max(left, key=worth) if diversity else left[0]
        left.remove(best)
        chosen.append(best)
    return chosen


def cosines(encoder: SentenceEncoder, texts: list[str], candidates: list[list[str]]) -> list[Tensor]:
    """The cosine of the embeddings of each candidate and its text."""
    flat = [text for some in candidates for text in some]
    own, *others = encoder.embed([*texts, *flat]).split([len(texts), *map(len, candidates)])
    return [other @ one for one, other in zip(own, others, strict=True)]
