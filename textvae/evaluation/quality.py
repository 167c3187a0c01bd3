"""What a model writes, judged: how much of it differs, how fluent it is, how near to held-out texts.

N held-out texts · n judged ones · Z latent_size
"""

import math
from collections.abc import Mapping, Sequence
from itertools import chain

import numpy as np
import torch
from torch import Tensor

from textvae.data.inference_batches import InferenceBatches, groups, shared_rounds
from textvae.evaluation import metrics
from textvae.evaluation.judges import Judges, LanguageModel, SentenceEncoder
from textvae.evaluation.likelihood import SAMPLES, SPLIT, draws_of_prior, preceding_of_label
from textvae.evaluation.mauve import mauve
from textvae.evaluation.metrics import STANDARD_ERROR
from textvae.evaluation.walks import measure_walks
from textvae.latents.neighbours import neighbour_pairs
from textvae.latents.paths import interpolate
from textvae.latents.priors import Prior
from textvae.modeling.autoencoder import TextVAEModel
from textvae.processes import from_main, gather_rows

BEAMS = 4  # of prior samples, here and in `TextVAEPipeline.sample`: they are more fluent than greedy ones
NUM_WALKS, NUM_STEPS = 100, 7  # from one held-out text to another: at most so many, of so many texts each


@torch.no_grad()
def report_of_quality(
    model: TextVAEModel,
    texts: InferenceBatches,
    held_out: list[str],
    reconstructed: Mapping[int, str],
    judges: Judges,
    num_samples: int,
    max_new_tokens: int,
    seed: int,
    prior: Prior | None = None,
) -> dict[str, float]:
    """The measures of `num_samples` prior samples and, with judges, of as many reconstructions and walks.

    Args:
        texts: the held-out texts.
        held_out: the same as strings.
        reconstructed: the reconstruction of some held-out texts, by their index.
        prior: a fitted one, to draw the samples from.
    """
    samples = prior_samples(model, texts, num_samples, max_new_tokens, seed, prior)
    order = np.random.default_rng((seed, SPLIT)).permutation(len(texts)).tolist()
    some = [held_out[i] for i in order[:num_samples]]
    report = {
        "distinct_samples": metrics.distinct_share(samples),
        "distinct_2_samples": metrics.distinct_bigrams(samples),
        "distinct_2_held_out": metrics.distinct_bigrams(some),
    }
    if judges.language_model is not None:
        backs = [reconstructed[i] for i in order if i in reconstructed]
        kinds = {"samples": samples, "reconstructions": backs[:num_samples], "held_out": some}
        for kind, judged in kinds.items():
            report |= fluency(judges.language_model, f"fluency_{kind}", judged)
    if judges.encoder is not None:
        number = min(num_samples, len(texts) // 2)
        half, others = order[:number], order[number : 2 * number]
        walks = midpoints_written(model, texts, half, max_new_tokens)
        kinds = {"samples": samples[:number], "walks": walks, "held_out": [held_out[i] for i in half]}
        report |= _nearness(judges.encoder, kinds, [held_out[i] for i in others], seed)
        pairs, ways = walks_written(model, texts, half[:NUM_WALKS], max_new_tokens)
        starts, ends = ([held_out[i] for i in side] for side in zip(*pairs, strict=True))
        report |= measure_walks(ways, starts, ends, judges.encoder) | {"num_walks": len(ways)}
    return report | {"num_prior_samples": num_samples}


def prior_samples(
    model: TextVAEModel,
    texts: InferenceBatches,
    number: int,
    max_new_tokens: int,
    seed: int,
    prior: Prior | None = None,
) -> list[str]:
    """Texts written from draws of a prior, the fitted one if there is one; with labels, these take turns."""
    num_labels = len(model.config.label_names)
    label_ids = [i % num_labels for i in range(number)] if num_labels else None
    latents = draws_of_prior(model, label_ids, range(number), seed, SAMPLES, prior)
    return _written(model, texts, latents, label_ids, max_new_tokens, BEAMS)


def midpoints_written(
    model: TextVAEModel, texts: InferenceBatches, indices: Sequence[int], max_new_tokens: int
) -> list[str]:
    """For each of these held-out texts, what is written midway between its posterior mean and the nearest other one.

    With labels, the nearest one with the same label. No two texts are written midway between the same two.
    """
    means = _means(model, texts, indices)
    label_ids = None if texts.label_ids is None else [texts.label_ids[i] for i in sorted(indices)]
    pairs = neighbour_pairs(means, None if label_ids is None else torch.tensor(label_ids))
    return _written(model, texts, means[pairs].mean(1), label_ids, max_new_tokens)


@torch.no_grad()
def walks_written(
    model: TextVAEModel, texts: InferenceBatches, indices: Sequence[int], max_new_tokens: int
) -> tuple[list[tuple[int, int]], list[list[str]]]:
    """Straight walks of seven texts between the posterior means of these held-out texts, in a circle.

    With labels, in a circle for each label.

    Returns:
        the indices of the start and the end of each walk, and its texts.
    """
    means, rows = _means(model, texts, indices), sorted(indices)
    label_ids = torch.tensor([0 if texts.label_ids is None else texts.label_ids[i] for i in rows])
    starts = preceding_of_label(label_ids)
    points = interpolate(means[starts], means, NUM_STEPS).flatten(0, 1)  # (n · NUM_STEPS, Z)
    ids = None if texts.label_ids is None else label_ids.repeat_interleave(NUM_STEPS).tolist()
    walks = groups(_written(model, texts, points, ids, max_new_tokens), NUM_STEPS)
    return [(rows[start], row) for start, row in zip(starts.tolist(), rows, strict=True)], walks


def _means(model: TextVAEModel, texts: InferenceBatches, indices: Sequence[int]) -> Tensor:
    """The posterior means (n, Z) of these texts, in the order of their sorted indices."""
    found = []
    for rows, batch in texts.batches(indices, "encoding"):
        mean, _ = model.posterior_parameters(batch["input_ids"], batch["attention_mask"], batch.get("label_ids"))
        found.append((rows, {"mean": mean.cpu()}))
    return gather_rows(found)["mean"]


def _written(
    model: TextVAEModel,
    texts: InferenceBatches,
    latents: Tensor,
    label_ids: list[int] | None,
    max_new_tokens: int,
    num_beams: int = 1,
) -> list[str]:
    """The text of each z (n, Z), without drawing words; the processes share the work."""
    found = []
    rounds = shared_rounds(range(len(latents)), [0] * len(latents), texts.batch_size, "writing")
    for rows in chain.from_iterable(rounds):
        ids = None if label_ids is None else torch.tensor([label_ids[i] for i in rows], device=model.device)
        own = latents[rows].to(model.device)
        tokens = model.generate(own, label_ids=ids, max_new_tokens=max_new_tokens, do_sample=False, num_beams=num_beams)
        found.append((rows, {"text": texts.tokenizers.decoder.batch_decode(tokens, skip_special_tokens=True)}))
    return gather_rows(found)["text"]


def fluency(judge: LanguageModel, name: str, texts: Sequence[str]) -> dict[str, float]:
    """Nats per token by this name, over all tokens of the texts, and its standard error; infinite without a token."""
    nats, tokens = (part.double() for part in judge.nats(texts))
    if not tokens.any():
        return {name: math.inf, name + STANDARD_ERROR: math.inf}
    error = metrics.ratio_standard_error(nats, tokens)
    return {name: float(nats.sum() / tokens.sum()), name + STANDARD_ERROR: error}


def _nearness(
    encoder: SentenceEncoder, kinds: Mapping[str, Sequence[str]], held_out: Sequence[str], seed: int
) -> dict[str, float]:
    """MAUVE of texts of each kind and held-out ones, as many of each."""
    others = encoder.embed(held_out)
    embedded = {kind: encoder.embed(texts) for kind, texts in kinds.items()}
    values = from_main(lambda: {f"mauve_{kind}": mauve(texts, others, seed) for kind, texts in embedded.items()})
    return values | {"num_mauve_texts": len(others)}
