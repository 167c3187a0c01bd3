"""The report of a model over a corpus: bounds on the likelihood, what z holds, how well it is read back. All in nats.

B batch · S, T lengths · Z latent_size · K samples · N texts

Batch size, order and the number of processes change nothing.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.data.coverage import count_unknown
from textvae.data.inference_batches import Corpus, gather, of_all_processes
from textvae.errors import InputError
from textvae.evaluation import metrics
from textvae.evaluation.likelihood import (
    CHOICE,
    IMPORTANCE,
    importance_weighted_nll,
    nll_with,
    noise_of_texts,
    posterior_terms,
    preceding_of_label,
    samples_needed,
)
from textvae.evaluation.partial_results import append_values, fingerprint_of_model, fingerprint_of_texts, read_values
from textvae.modeling.autoencoder import TextVAEModel
from textvae.processes import from_main

logger = logging.getLogger(__name__)

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}
STANDARD_ERROR = "_standard_error"  # added to the name of what it is the error of


@torch.no_grad()
def _importance_weighted(
    model: TextVAEModel,
    corpus: Corpus,
    indices: Sequence[int],
    num_samples: int,
    seed: int,
    precision: str,
    cache: Path | None,
) -> Tensor:
    """The bound (n,) of each text; what the cache has is not taken again, and what it has not is added to it."""
    values = {} if cache is None else _values_in(cache, model, corpus, num_samples, seed, precision)
    left = [index for index in indices if index not in values]
    is_main = PartialState().is_main_process
    if is_main and len(left) < len(indices):
        there = len(indices) - len(left)
        logger.warning("%d of %d importance-weighted values were already there, in %s", there, len(indices), cache)
    for batches in corpus.rounds(left, "importance sampling"):
        found = {}
        for rows, batch in batches:
            draw = partial(noise_of_texts(seed, IMPORTANCE, rows), size=model.config.latent_size)
            nll = importance_weighted_nll(model, batch, num_samples, draw, corpus.batch_size)
            found |= zip(rows, nll.tolist(), strict=True)
        found = of_all_processes(found)
        values |= found
        if is_main and cache is not None:
            append_values(cache, found)
    return torch.tensor([values[index] for index in indices], dtype=torch.float64)


def _values_in(
    cache: Path, model: TextVAEModel, corpus: Corpus, num_samples: int, seed: int, precision: str
) -> dict[int, float]:
    """What an interrupted evaluation has left there, by the index of the text."""

    def read() -> dict[int, float]:
        label_ids = [] if corpus.label_ids is None else [corpus.label_ids]
        depends_on = {
            "num_importance_samples": num_samples,
            "seed": seed,
            "mixed_precision": precision,
            "num_texts": len(corpus),
            "latent_size": model.config.latent_size,
            "model": fingerprint_of_model(model.config.to_json_string(), model.state_dict()),
            "texts": fingerprint_of_texts(corpus.ids + (corpus.labels if corpus.has_labels else []) + label_ids),
        }
        return read_values(cache, depends_on)

    return from_main(read)


@torch.no_grad()
def _reconstructed(model, corpus: Corpus, indices: Sequence[int], tokenizer, max_new_tokens: int) -> list[str]:
    """Texts written greedily from the posterior means."""
    found = []
    for rows, batch in corpus.batches(indices, "reconstructing"):
        label_ids = batch.get("label_ids")
        mean, _ = model.posterior_parameters(batch["input_ids"], batch["attention_mask"], label_ids)
        ids = model.generate(mean, label_ids=label_ids, max_new_tokens=max_new_tokens, do_sample=False)
        found.append((rows, {"text": tokenizer.batch_decode(ids, skip_special_tokens=True)}))
    return gather(found)["text"]


def _choose(number: int | None, total: int, seed: int) -> list[int]:
    """`number` of `total` indices, the same for the same seed; all of them when `number` is None or too large."""
    chosen = np.random.default_rng((seed, CHOICE)).permutation(total)[:number]
    return sorted(chosen.tolist())


def evaluate(
    model: TextVAEModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset,
    *,
    num_importance_samples: int = 100,
    num_importance_texts: int | None = None,
    num_reconstructed_texts: int | None = 1000,
    max_new_tokens: int = 64,
    batch_size: int = 64,
    seed: int = 0,
    mixed_precision: str = "no",
    cache: str | Path | None = None,
    encoder_tokenizer: PreTrainedTokenizerBase | None = None,
) -> dict[str, float | int]:
    """Everything that is reported of a model, on the texts of a tokenized dataset (`input_ids` and `text`).

    Of a dataset of pairs (with `labels` and `target` too), whatever is said of a text that is decoded, its likelihood,
    perplexities, counts, BLEU and exact match, is said of its target, given the z of the text.

    Of a model with labels (the dataset then has `label_id` too) every p and q is given the label; mutual information
    and active units count what z says of the text and of its label together.

    Args:
        model: on whatever device; it is put in evaluation mode, and afterwards back in the mode it was in.
        tokenizer: the decoder's.
        dataset: what [`textvae.tokenized.tokenize_corpus`] gives, or columns of the same names.
        num_importance_samples: K of the importance-weighted bound; 1 of a language model, where it is exact.
        num_importance_texts: how many of the texts, chosen by `seed`, that bound and the perplexities are taken on.
        num_reconstructed_texts: how many are written back greedily from their posterior mean.
        max_new_tokens: at most, of a text that is written back.
        batch_size: texts in the model at a time, and up to eight z of each in importance sampling; it changes no
            number.
        seed: of all noise and of the texts that are chosen.
        mixed_precision: `bf16` or `fp16` for the matrix products, faster where training is; sums of probabilities stay
            in fp32, so that every bound is one, of the model as it computes at that precision.
        cache: a file to keep the importance-weighted values in as they are found; an evaluation that was interrupted
            goes on where it stopped, and ends with the numbers of an uninterrupted one.
        encoder_tokenizer: what the `input_ids` were made with, where the decoder has another one.

    Returns:
        `negative_elbo` (1 sample), `reconstruction` (the distortion), `kl` (the rate), `iw_nll`, all nats per text;
        `mutual_information` (aggregated posterior of all texts, nats) and `minibatch_mutual_information` (in batches of
        32, only for comparison with papers that report it); `active_units`; `shuffle_gap`: the nats that reconstruction
        loses when every text is decoded from the z of another, with its label where there are labels; `exact_match`
        (share); of each of these but the mini-batches' its `<name>_standard_error` over the texts. `perplexity_token`
        and `perplexity_word` from `iw_nll`, EOS counted; `bleu`; and the counts these rest on, with `num_unknown` of
        the tokens unknown to the tokenizer.

    Raises:
        InputError: if there are fewer than two texts, one of the numbers is below 1, or the cache cannot be written or
            is of another evaluation: of another model or other texts, or with another seed, precision or number of
            samples; if there is no such precision; if there are two tokenizers and no `labels`; or if the model has
            labels and the dataset no `label_id`, or the other way round.
    """
    if len(dataset) < 2:
        raise InputError(f"Evaluation needs at least 2 texts, there are {len(dataset)}.")
    numbers = {
        "num_importance_samples": num_importance_samples,
        "num_importance_texts": num_importance_texts,
        "num_reconstructed_texts": num_reconstructed_texts,
        "batch_size": batch_size,
    }
    for name, number in numbers.items():
        if number is not None and number < 1:
            raise InputError(f"{name} is {number}, it must be at least 1.")
    if mixed_precision not in PRECISIONS:
        raise InputError(f"mixed_precision is {mixed_precision!r}, it must be one of {', '.join(PRECISIONS)}.")
    num_importance_samples = samples_needed(model, num_importance_samples)
    corpus = Corpus(dataset, tokenizer, model.device, batch_size, encoder_tokenizer)
    if bool(model.config.label_names) != (corpus.label_ids is not None):
        raise InputError("The model has labels and the dataset no label_id, or the other way round: tokenize it anew.")
    sampled = _choose(num_importance_texts, len(corpus), seed)
    written = _choose(num_reconstructed_texts, len(corpus), seed)
    cache = None if cache is None else Path(cache)
    with _evaluation_mode(model, mixed_precision):
        # First, so that a cache which cannot be used is told of before any work.
        nll = _importance_weighted(model, corpus, sampled, num_importance_samples, seed, mixed_precision, cache)
        report = _report_of_z(model, corpus, seed)
        report |= _report_of_likelihood(nll, corpus, sampled)
        report |= _report_of_writing(model, corpus, written, tokenizer, max_new_tokens)
    return report | {
        "num_texts": len(corpus),
        "num_tokens": corpus.num_tokens(range(len(corpus))),
        "num_unknown": count_unknown(tokenizer, corpus.texts, corpus.labels),
        "num_importance_samples": num_importance_samples,
        "num_importance_texts": len(sampled),
        "num_reconstructed_texts": len(written),
        "latent_size": model.config.latent_size,
    }


@contextmanager
def _evaluation_mode(model: TextVAEModel, precision: str) -> Iterator[None]:
    """Without dropout, the matrix products at this precision; afterwards as before."""
    training, dtype = model.training, PRECISIONS[precision]
    model.eval()
    try:
        with torch.autocast(model.device.type, dtype, enabled=dtype is not None):
            yield
    finally:
        model.train(training)


def _report_of_z(model: TextVAEModel, corpus: Corpus, seed: int) -> dict[str, float]:
    """The bound of one sample, and what z knows and does."""
    everything = range(len(corpus))
    terms = posterior_terms(model, corpus, everything, seed)
    posteriors = terms["mean"], terms["logvar"], terms["latents"]
    label_ids = torch.zeros(len(corpus)).long() if corpus.label_ids is None else torch.tensor(corpus.label_ids)
    shuffled = nll_with(model, corpus, everything, _of_another_text(terms["latents"], label_ids, seed))
    report = {
        **_with_error("reconstruction", terms["reconstruction"]),
        **_with_error("kl", terms["kl"]),
        **_with_error("negative_elbo", terms["reconstruction"].double() + terms["kl"].double()),
        **_with_error("mutual_information", metrics.information_terms(*posteriors)),
        **_with_error("shuffle_gap", shuffled.double() - terms["reconstruction"].double()),
        "active_units": metrics.active_units(terms["mean"]),
        "active_units" + STANDARD_ERROR: metrics.active_units_standard_error(terms["mean"], seed=seed),
        "minibatch_mutual_information": metrics.minibatch_mutual_information(*posteriors),
    }
    _check_information(report, len(corpus), model.config.latent_size, len(model.config.label_names))
    return report


def _report_of_likelihood(nll: Tensor, corpus: Corpus, indices: Sequence[int]) -> dict[str, float]:
    """The bound `nll` (n,) of the texts with these indices and its perplexities."""
    total = float(nll.sum())
    return _with_error("iw_nll", nll) | {
        "perplexity_token": metrics.perplexity(total, corpus.num_tokens(indices)),
        "perplexity_word": metrics.perplexity(total, corpus.num_words(indices)),
    }


def _report_of_writing(
    model: TextVAEModel, corpus: Corpus, indices: Sequence[int], tokenizer, max_new_tokens: int
) -> dict[str, float]:
    """How well the texts with these indices are written back."""
    hypotheses = _reconstructed(model, corpus, indices, tokenizer, max_new_tokens)
    references = tokenizer.batch_decode([corpus.labels[i] for i in indices], skip_special_tokens=True)
    matches = torch.tensor([h == r for h, r in zip(hypotheses, references, strict=True)])
    return {
        "exact_match": metrics.exact_match(hypotheses, references),
        "exact_match" + STANDARD_ERROR: metrics.standard_error(matches),
        "bleu": metrics.corpus_bleu(hypotheses, references),
    }


def _with_error(name: str, values: Tensor) -> dict[str, float]:
    """The mean over texts of `values` (n,), and its standard error."""
    return {name: float(values.double().mean()), name + STANDARD_ERROR: metrics.standard_error(values)}


def _of_another_text(latents: Tensor, label_ids: Tensor, seed: int) -> Tensor:
    """(N, Z) → (N, Z): cycles through the texts of each label, in random order, give each one another's z.

    Never its own, unless it is alone with its label. Of another label, it would cost nats also where the z of a text
    says no more than its label, of which the decoder is told anyway.
    """
    cycle = torch.from_numpy(np.random.default_rng((seed, CHOICE)).permutation(len(latents)))
    others = torch.empty_like(latents)
    others[cycle] = latents[cycle[preceding_of_label(label_ids[cycle])]]
    return others


def _check_information(report: dict, num_texts: int, latent_size: int, num_labels: int = 0) -> None:
    """I(x; z) cannot exceed ln N or, without labels, the KL; one sample for each text leaves the latter a little room.

    With labels c and the prior p(z|c), the mean KL(q(z|x, c) ‖ p(z|c)) is I(x; z|c) plus a mean KL(q(z|c) ‖ p(z|c)),
    hence at least I(x; z|c); and what is measured is I(x, c; z) = I(c; z) + I(x; z|c) ≤ H(c) + KL ≤ ln L + KL for L
    labels: a z may name its label at no cost.
    """
    information, noise = report["mutual_information"], 4 * math.sqrt(latent_size / 2 / num_texts)
    of_labels = math.log(max(1, num_labels))
    if information > math.log(num_texts) + 1e-6 or information > report["kl"] + of_labels + noise:
        raise AssertionError(
            f"mutual information {information} exceeds KL {report['kl']} + {of_labels} or ln {num_texts}"
        )
