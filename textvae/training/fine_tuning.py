"""A saved model on another corpus: what its tokenizers make of it, what they gain from it, and what stays as it was."""

import logging
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from transformers import PreTrainedTokenizerBase

from textvae.data.corpora import iterate_texts
from textvae.data.coverage import coverage, coverage_sentence
from textvae.data.extend_tokenizer import extend_tokenizer, kind_of
from textvae.data.labels import label_ids
from textvae.data.tokenizer_pair import Pair, load_tokenizers
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.load import load_model
from textvae.modeling.vocabulary import check_match, extend_model
from textvae.processes import from_main
from textvae.training.config import BOTTLENECK, NEEDS_LATENTS, TrainingConfig

logger = logging.getLogger(__name__)

_COVERAGE_ROWS = 2_000
_USUAL_EXTENSION = 2_000


def extended_tokenizers(config: TrainingConfig, dataset: Dataset | IterableDataset) -> Pair:
    """The saved model's tokenizers, each with up to `extend_tokenizer` pieces of the texts that it reads or writes.

    Raises:
        InputError: if they cannot be opened, or to one of them nothing can be added.
    """
    pair = load_tokenizers(config.model_name_or_path)
    if not config.extend_tokenizer:
        return pair
    extended = {}
    for side, (tokenizer, columns) in _sides(config, pair).items():
        texts = iterate_texts(dataset, columns)
        extended[side] = extend_tokenizer(tokenizer, texts, config.extend_tokenizer, seed=config.seed)
        num_new = len(extended[side]) - len(tokenizer)
        logger.warning("The %stokenizer gets %s tokens from this corpus.", _whose(side), f"{num_new:,}")
    return extended[""], extended.get("encoder_")


def report_coverage(config: TrainingConfig, dataset: Dataset | IterableDataset, tokenizers: Pair) -> dict[str, float]:
    """Say how tokenizers that were not trained on a corpus cover a sample of it; nothing of those that were.

    Returns:
        the values of [`coverage`]; where the encoder has a tokenizer of its own, those of it as `encoder_…`.
    """
    if config.model_name_or_path is None and not config.has_pretrained_parts:
        return {}
    return from_main(lambda: _coverage_of(config, _some_rows(dataset, config.seed), tokenizers))


def _coverage_of(config: TrainingConfig, rows: Dataset | IterableDataset, tokenizers: Pair) -> dict[str, float]:
    report, sides = {}, _sides(config, tokenizers)
    if config.model_name_or_path is None and config.decoder_name_or_path is None:
        sides.pop("")  # made for a new decoder
    for side, (tokenizer, columns) in sides.items():
        values = coverage(tokenizer, list(iterate_texts(rows, columns)))
        logger.warning(coverage_sentence(values, f"The {_whose(side)}tokenizer", _remedy(config, tokenizer)))
        report |= {side + name: value for name, value in values.items()}
    return report


def _sides(config: TrainingConfig, pair: Pair) -> dict[str, tuple[PreTrainedTokenizerBase, list[str]]]:
    """Each tokenizer with the columns that it reads or writes; the encoder's, if it has its own, as `encoder_`."""
    targets = [] if config.target_column is None else ["target"]
    if pair[1] is None:
        return {"": (pair[0], ["text", *targets])}
    return {"": (pair[0], targets or ["text"]), "encoder_": (pair[1], ["text"])}


def _whose(side: str) -> str:
    return "encoder's " if side else ""


def _some_rows(dataset: Dataset | IterableDataset, seed: int) -> Dataset | IterableDataset:
    if isinstance(dataset, IterableDataset):
        return dataset.take(_COVERAGE_ROWS)
    return dataset.select(np.sort(np.random.default_rng(seed).permutation(len(dataset))[:_COVERAGE_ROWS]))


def _remedy(config: TrainingConfig, tokenizer: PreTrainedTokenizerBase) -> str:
    """Against bad coverage."""
    kind = kind_of(tokenizer)
    if config.model_name_or_path is None or kind is None:
        return "a model whose tokenizer was made for such texts would read it better"
    number = max(_USUAL_EXTENSION, 2 * config.extend_tokenizer)
    return f"--extend_tokenizer {number} would add {'words' if kind == 'word' else 'pieces'}"


def load_saved(
    config: TrainingConfig,
    tokenizer: PreTrainedTokenizerBase,
    encoder_tokenizer: PreTrainedTokenizerBase | None,
    label_names: Sequence[str],
) -> TextVAEModel:
    """The saved model, in fp32, with rows for what its tokenizers have gained and the dropout the config asks for.

    Raises:
        InputError: if it cannot be opened, the config asks for another architecture, the tokenizers are not its own, or
            the corpus's labels are none of its own.
    """
    model = load_model(config.model_name_or_path, torch.float32, _dropout(config))
    saved = load_tokenizers(config.model_name_or_path)
    _check_settings(config, model.config, saved)
    _check_label_names(config.model_name_or_path, model.config.label_names, label_names)
    extend_model(model, saved, (tokenizer, encoder_tokenizer))
    check_match(model, tokenizer, encoder_tokenizer)
    return model


def _dropout(config: TrainingConfig) -> dict[str, dict]:
    """Of the parts that are described: no weight depends on it, so a saved model can be trained on with another."""
    default = TrainingConfig()
    described = {"encoder": config.encoder, "decoder": config.decoder}
    return {
        part: {name: value for name, value in settings.items() if "drop" in name}
        for part, settings in described.items()
        if settings != getattr(default, part)
    }


def _check_settings(config: TrainingConfig, saved: TextVAEConfig, tokenizers: Pair) -> None:
    """What would make another model, and so be ignored, is refused, unless it is the default or what the model has."""
    for name in NEEDS_LATENTS if saved.is_language_model else ():
        if getattr(config, name):
            raise InputError(f"{name} needs a z, and {config.model_name_or_path!r} has none: leave one of them out.")
    if saved.mean_batch_norm and config.weight_averaging != "none":
        raise InputError(
            f"{config.model_name_or_path!r} has a mean_batch_norm, whose statistics are those of the last weights and "
            "not of an average: leave weight_averaging out."
        )
    given, default, model = asdict(config), asdict(TrainingConfig()), saved.to_dict()
    ignored = _differing({name: given[name] for name in BOTTLENECK}, default, model)
    for part, sub_config in (("encoder", saved.encoder), ("decoder", saved.decoder)):
        values = model[part] | {name: model[part].get(own) for name, own in sub_config.attribute_map.items()}
        ignored += [f"{name} of the {part}" for name in _differing(given[part], default[part], values)]
    if config.tokenizer not in ("sentencepiece", kind_of(tokenizers[0])):
        ignored.append("tokenizer")
    if ignored:
        raise InputError(
            f"The saved model {config.model_name_or_path!r} stays what it is, and has another {', '.join(ignored)}: "
            "leave that out, or train a new model without model_name_or_path."
        )
    if config.vocab_size not in (default["vocab_size"], len(tokenizers[0])):  # it may have got fewer than asked for
        logger.warning(
            "The saved tokenizer has %d tokens, and vocab_size %d is left aside: extend_tokenizer adds some.",
            len(tokenizers[0]), config.vocab_size,
        )  # fmt: skip


def _check_label_names(name: str, known: Sequence[str], label_names: Sequence[str]) -> None:
    if known and not label_names:
        raise InputError(f"{name} has labels: name the column of the corpus's own in label_column.")
    if label_names and not known:
        raise InputError(f"{name} has no labels: leave label_column out, or train a new model.")
    label_ids(label_names, known)  # which it must have


def _differing(given: dict, default: dict, saved: dict) -> list[str]:
    return [name for name, value in given.items() if value not in (default.get(name), saved.get(name))]
