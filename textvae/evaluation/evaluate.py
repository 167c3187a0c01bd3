"""The report of a model over a dataset: likelihood bounds, what z holds, how well texts are reconstructed. In nats.

B batch · S, T lengths · Z latent_size · K samples · N texts

Batch size, order and the number of processes change no result.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textvae.config_fields import from_names
from textvae.data.coverage import count_unknown
from textvae.data.extend_tokenizer import kind_of
from textvae.data.inference_batches import InferenceBatches
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.errors import InputError, shown
from textvae.evaluation import metrics
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.judges import open_judges
from textvae.evaluation.likelihood import (
    CHOICE,
    IMPORTANCE,
    nll_of_priors,
    nll_with,
    noise_of_texts,
    posterior_terms,
    samples_needed,
)
from textvae.evaluation.metrics import STANDARD_ERROR
from textvae.evaluation.other_latents import other_latents
from textvae.evaluation.partial_results import append_values, fingerprint_of_model, fingerprint_of_texts, read_values
from textvae.evaluation.quality import report_of_quality
from textvae.latents.priors import Prior
from textvae.modeling.autoencoder import TextVAEModel
from textvae.processes import from_main, gather_entries, gather_rows

logger = logging.getLogger(__name__)

PRECISIONS = {"no": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def evaluate(
    model: TextVAEModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset | Mapping[str, list],
    config: EvaluationConfig | None = None,
    *,
    encoder_tokenizer: PreTrainedTokenizerBase | None = None,
    prior: Prior | None = None,
    cache: str | Path | None = None,
    **options,
) -> dict[str, float | int]:
    """Evaluate a model on a tokenized dataset (`input_ids` and `text`).

    In a dataset of pairs (with `target_ids` and `target`, too), likelihoods, perplexities, counts, BLEU and exact match
    are those of the target, given the z of the text. With labels (`label_id`), all distributions are given the label,
    and mutual information and active units measure what z holds of text and label together.

    Args:
        model: on any device; it is in evaluation mode meanwhile.
        tokenizer: the decoder's.
        dataset: what [`textvae.data.tokenize_corpus`] gives, or columns of the same names.
        config: see [`EvaluationConfig`]; its fields may be given as `options` instead.
        encoder_tokenizer: what made the `input_ids`, if that is not the decoder's.
        prior: a fitted one, for a second set of bounds.
        cache: a file that keeps importance-weighted values as they are found. An evaluation that was interrupted
            continues from there, and gives the results of an uninterrupted one.

    Returns:
        `negative_elbo` (1 sample), `reconstruction` (the distortion), `kl` (the rate), `iw_nll`, all nats per text;
        `mutual_information` (aggregated posterior of all texts, nats) and `minibatch_mutual_information` (in batches of
        32, only for comparison with papers that report it); `active_units`; `shuffle_gap`, `zero_gap`, `mean_gap` and
        `noise_gap`: the nats that reconstruction loses if every text is decoded from another z; `exact_match` (share).
        Each of these but the mini-batch one has its `<name>_standard_error` over the texts. `perplexity_token` and
        `perplexity_word` from `iw_nll`, EOS counted; `bleu`; the measures of prior samples, and with judges of fluency
        and of walks; with a `prior` the bounds with it, `fitted_…`; and the counts that all rest on, with the number of
        unknown tokens. `textvae.evaluation` explains each.

    Raises:
        InputError: if the dataset is not tokenized or has fewer than two texts, an option is out of its range, a judge
            cannot be opened, the cache cannot be written or is of another evaluation, there are two tokenizers and no
            `target_ids`, or the model has labels and the dataset no `label_id`, or the other way round.
    """
    config = one_config(config, options)
    _check_columns(dataset)
    tokenizers = TokenizerPair(tokenizer, encoder_tokenizer)
    texts = InferenceBatches(dataset, tokenizers, model.device, config.batch_size)
    _check(model, texts)
    judges = open_judges(config.judge, config.judge_encoder, model.device)
    sampled = _choose(config.num_importance_texts, len(texts), config.seed)
    written = _choose(config.num_reconstructed_texts, len(texts), config.seed)
    with _evaluation_mode(model, config.mixed_precision):
        # First, so that a cache which cannot be used is reported before any work.
        nll = _importance_weighted(model, texts, sampled, config, prior, None if cache is None else Path(cache))
        report = _report_of_z(model, texts, config.seed, prior)
        report |= _report_of_likelihood(nll, texts, sampled)
        longest = config.max_new_tokens or tokenizers.usual_length
        held_out = _as_written(texts)
        reconstructed = dict(zip(written, _reconstructed(model, texts, written, longest), strict=True))
        report |= _report_of_writing([*reconstructed.values()], [held_out[i] for i in written])
        options = judges, config.num_prior_samples, longest, config.seed, prior
        report |= report_of_quality(model, texts, held_out, reconstructed, *options)
    return report | {
        "num_texts": len(texts),
        "num_tokens": texts.num_tokens(range(len(texts))),
        "num_unknown": count_unknown(tokenizer, texts.texts, texts.target_ids),
        "num_importance_samples": samples_needed(model, config.num_importance_samples),
        "num_importance_texts": len(sampled),
        "num_reconstructed_texts": len(written),
        "latent_size": model.config.latent_size,
    }


def one_config(config: EvaluationConfig | None, options: dict) -> EvaluationConfig:
    """The config, or one of these options."""
    if config is None:
        return from_names(EvaluationConfig, options)
    if not isinstance(config, EvaluationConfig):
        raise InputError(f"config is {shown(config)}, it must be an EvaluationConfig: give options by name instead.")
    if options:
        raise InputError("evaluate takes an EvaluationConfig or options by name, not both: leave one of them out.")
    return config


def check_number(num_texts: int) -> None:
    """Raises InputError if there are too few texts to evaluate a model on."""
    if num_texts < 2:
        raise InputError(f"Evaluation needs at least 2 texts, there are {num_texts}.")


def _check_columns(dataset: Dataset | Mapping[str, list]) -> None:
    columns = dataset.column_names if isinstance(dataset, Dataset) else dataset if isinstance(dataset, Mapping) else ()
    if not {"input_ids", "text"} <= {*columns}:
        raise InputError(
            "The dataset has no columns input_ids and text: make them with textvae.data.tokenize_corpus, or give the "
            "texts to TextVAEPipeline.evaluate."
        )


def _check(model: TextVAEModel, texts: InferenceBatches) -> None:
    check_number(len(texts))
    if bool(model.config.label_names) != (texts.label_ids is not None):
        raise InputError("The model has labels and the dataset no label_id, or the other way round: tokenize it anew.")


def _choose(number: int | None, total: int, seed: int) -> list[int]:
    """`number` of `total` indices, the same for the same seed; all of them if `number` is None or too large."""
    chosen = np.random.default_rng((seed, CHOICE)).permutation(total)[:number]
    return sorted(chosen.tolist())


@torch.no_grad()
def _importance_weighted(
    model: TextVAEModel,
    texts: InferenceBatches,
    indices: Sequence[int],
    config: EvaluationConfig,
    prior: Prior | None,
    cache: Path | None,
) -> Tensor:
    """The bounds (1 or 2, n) of each text; values in the cache are not computed again, and new ones are added to it."""
    values = {} if cache is None else _values_in(cache, model, texts, config, prior)
    left = [index for index in indices if index not in values]
    is_main = PartialState().is_main_process
    if is_main and len(left) < len(indices):
        there = len(indices) - len(left)
        logger.warning("%d of %d importance-weighted values were already there, in %s", there, len(indices), cache)
    for batches in texts.rounds(left, "importance sampling"):
        found = {}
        for rows, batch in batches:
            draw = partial(noise_of_texts(config.seed, IMPORTANCE, rows), size=model.config.latent_size)
            nll = nll_of_priors(model, batch, config.num_importance_samples, draw, config.batch_size, prior)
            found |= zip(rows, nll.T.tolist(), strict=True)
        found = gather_entries(found)
        values |= found
        if is_main and cache is not None:
            append_values(cache, found)
    return torch.tensor([values[index] for index in indices], dtype=torch.float64).T


def _values_in(
    cache: Path, model: TextVAEModel, texts: InferenceBatches, config: EvaluationConfig, prior: Prior | None
) -> dict[int, list[float]]:
    """The values that an interrupted evaluation has left in the cache, by the index of the text."""

    def read() -> dict[int, list[float]]:
        label_ids = [] if texts.label_ids is None else [texts.label_ids]
        depends_on = {
            "num_importance_samples": samples_needed(model, config.num_importance_samples),
            "seed": config.seed,
            "mixed_precision": config.mixed_precision,
            "num_texts": len(texts),
            "latent_size": model.config.latent_size,
            "model": fingerprint_of_model(model.config.to_json_string(), model.state_dict()),
            "prior": None if prior is None else fingerprint_of_model("", prior.tensors()),
            "texts": fingerprint_of_texts(
                texts.input_ids + (texts.target_ids if texts.has_targets else []) + label_ids
            ),
        }
        return read_values(cache, depends_on)

    return from_main(read)


@torch.no_grad()
def _reconstructed(
    model: TextVAEModel, texts: InferenceBatches, indices: Sequence[int], max_new_tokens: int
) -> list[str]:
    """Texts written greedily from the posterior means."""
    found = []
    for rows, batch in texts.batches(indices, "reconstructing"):
        label_ids = batch.get("label_ids")
        mean, _ = model.posterior_parameters(batch["input_ids"], batch["attention_mask"], label_ids)
        ids = model.generate(mean, label_ids=label_ids, max_new_tokens=max_new_tokens, do_sample=False)
        found.append((rows, {"text": texts.tokenizers.decoder.batch_decode(ids, skip_special_tokens=True)}))
    return gather_rows(found)["text"]


@contextmanager
def _evaluation_mode(model: TextVAEModel, precision: str) -> Iterator[None]:
    """Evaluation mode and this precision; afterwards the model is as before."""
    training, dtype = model.training, PRECISIONS[precision]
    model.eval()
    try:
        with torch.autocast(model.device.type, dtype, enabled=dtype is not None):
            yield
    finally:
        model.train(training)


def _report_of_z(model: TextVAEModel, texts: InferenceBatches, seed: int, prior: Prior | None) -> dict[str, float]:
    """The bound from one sample, and what z holds and does."""
    everything = range(len(texts))
    terms = posterior_terms(model, texts, everything, seed)
    posteriors = terms["mean"], terms["logvar"], terms["latents"]
    own = terms["reconstruction"].double()
    others = other_latents(model, terms["mean"], terms["latents"], texts.label_ids, seed)
    gaps = {name: nll_with(model, texts, everything, latents).double() - own for name, latents in others.items()}
    report = {
        **_with_error("reconstruction", terms["reconstruction"]),
        **_with_error("kl", terms["kl"]),
        **_with_error("negative_elbo", own + terms["kl"].double()),
        **_with_error("mutual_information", metrics.information_terms(*posteriors)),
        **{key: value for name, gap in gaps.items() for key, value in _with_error(f"{name}_gap", gap).items()},
        "active_units": metrics.active_units(terms["mean"]),
        "active_units" + STANDARD_ERROR: metrics.active_units_standard_error(terms["mean"], seed=seed),
        "minibatch_mutual_information": metrics.minibatch_mutual_information(*posteriors),
    }
    if prior is not None:
        ids = None if texts.label_ids is None else torch.tensor(texts.label_ids)
        kl = prior.kl(terms["mean"].double(), terms["logvar"].double(), ids)
        report |= _with_error("fitted_kl", kl) | _with_error("fitted_negative_elbo", terms["reconstruction"] + kl)
    warn_of_excess_information(report, len(texts), model.config.latent_size, len(model.config.label_names))
    return report


def _report_of_likelihood(nll: Tensor, texts: InferenceBatches, indices: Sequence[int]) -> dict[str, float]:
    """The means of the bounds `nll` (1 or 2, n) of the texts with these indices, and the perplexities of the first."""
    own, *fitted = nll
    total = float(own.sum())
    report = _with_error("iw_nll", own)
    for values in fitted:
        report |= _with_error("fitted_iw_nll", values)
    return report | {
        "perplexity_token": metrics.perplexity(total, texts.num_tokens(indices)),
        "perplexity_word": metrics.perplexity(total, texts.num_words(indices)),
    }


def _as_written(texts: InferenceBatches) -> list[str]:
    """The texts as the decoder could write them: a word tokenizer reads words, and no spaces."""
    if kind_of(texts.tokenizers.decoder) == "word":
        return [" ".join(text.split()) for text in texts.texts]
    return texts.texts


def _report_of_writing(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """How well texts are reconstructed."""
    matches = torch.tensor([h == r for h, r in zip(hypotheses, references, strict=True)])
    return {
        "exact_match": metrics.exact_match(hypotheses, references),
        "exact_match" + STANDARD_ERROR: metrics.standard_error(matches),
        "bleu": metrics.corpus_bleu(hypotheses, references),
    }


def _with_error(name: str, values: Tensor) -> dict[str, float]:
    """The mean of `values` (n,) over texts, and its standard error."""
    return {name: float(values.double().mean()), name + STANDARD_ERROR: metrics.standard_error(values)}


def warn_of_excess_information(report: dict, num_texts: int, latent_size: int, num_labels: int = 0) -> None:
    """Log a warning if the estimate of I(x; z) is above what it can be; the value stays in the report as it is.

    I(x; z) is at most ln N and, without labels, at most the KL; the estimate takes one sample for each text, which
    leaves the latter a little room. With labels c and the prior p(z|c), the mean KL(q(z|x, c) ‖ p(z|c)) is at least
    I(x; z|c), and the report holds I(x, c; z) = I(c; z) + I(x; z|c) ≤ H(c) + KL ≤ ln L + KL for L labels.
    """
    information, noise = report["mutual_information"], 4 * math.sqrt(latent_size / 2 / num_texts)
    limits = {
        f"ln {num_texts}": math.log(num_texts) + 1e-6,
        "the KL": report["kl"] + math.log(max(1, num_labels)) + noise,
    }
    for name, limit in limits.items():
        if information > limit and PartialState().is_main_process:
            logger.warning(
                "The mutual information of %.3f nats is above %s, its upper bound: do not trust this estimate.",
                information,
                name,
            )
