"""Fine-tuning: how a saved model's tokenizers cover another corpus, how they grow, and which settings must stay."""

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
from textvae.data.normalization import normalization_of
from textvae.data.tokenizer_pair import TokenizerPair, load_tokenizers
from textvae.errors import InputError
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.load import load_model
from textvae.modeling.vocabulary import check_match, extend_model
from textvae.processes import from_main
from textvae.training.checks import refuse_averaged_batch_norm, refuse_without_latents
from textvae.training.config import BOTTLENECK, TrainingConfig

logger = logging.getLogger(__name__)

_COVERAGE_ROWS = 2_000
_USUAL_EXTENSION = 2_000


def extended_tokenizers(config: TrainingConfig, dataset: Dataset | IterableDataset) -> TokenizerPair:
    """The saved model's tokenizers; each gains up to `extend_tokenizer` pieces of the texts that it reads or writes.

    Raises:
        InputError: if they cannot be opened, or one of them cannot grow.
    """
    saved = load_tokenizers(str(config.model_name_or_path))
    if not config.extend_tokenizer:
        return saved
    extended = {}
    for side, (tokenizer, columns) in _sides(config, saved).items():
        texts = iterate_texts(dataset, columns)
        extended[side] = extend_tokenizer(tokenizer, texts, config.extend_tokenizer, seed=config.seed)
        num_new = len(extended[side]) - len(tokenizer)
        reason = "" if num_new else ", which has no piece or word that saves one"
        logger.warning("The %stokenizer gets %s tokens from this corpus%s.", _whose(side), f"{num_new:,}", reason)
    return TokenizerPair(extended[""], extended.get("encoder_"))


def report_coverage(
    config: TrainingConfig, dataset: Dataset | IterableDataset, tokenizers: TokenizerPair
) -> dict[str, float]:
    """Log how tokenizers that were not trained on this corpus cover a sample of it.

    Returns:
        the values of [`coverage`]; those of the encoder's own tokenizer, if it has one, as `encoder_…`. An empty
        dictionary if the tokenizers were trained on the corpus.
    """
    if config.model_name_or_path is None and not config.has_pretrained_parts:
        return {}
    return from_main(lambda: _coverage_of(config, _some_rows(dataset, config.seed), tokenizers))


def _coverage_of(
    config: TrainingConfig, rows: Dataset | IterableDataset, tokenizers: TokenizerPair
) -> dict[str, float]:
    report, sides = {}, _sides(config, tokenizers)
    if config.model_name_or_path is None and config.decoder_name_or_path is None:
        sides.pop("")  # trained on this corpus for a new decoder
    for side, (tokenizer, columns) in sides.items():
        values = coverage(tokenizer, list(iterate_texts(rows, columns)))
        logger.warning(coverage_sentence(values, f"The {_whose(side)}tokenizer", _remedy(config, tokenizer)))
        report |= {side + name: value for name, value in values.items()}
    return report


def _sides(config: TrainingConfig, tokenizers: TokenizerPair) -> dict[str, tuple[PreTrainedTokenizerBase, list[str]]]:
    """Each tokenizer with the columns that it reads or writes; the encoder's own tokenizer as `encoder_`."""
    targets = [] if config.target_column is None else ["target"]
    if tokenizers.encoder is None:
        return {"": (tokenizers.decoder, ["text", *targets])}
    return {"": (tokenizers.decoder, targets or ["text"]), "encoder_": (tokenizers.encoder, ["text"])}


def _whose(side: str) -> str:
    return "encoder's " if side else ""


def _some_rows(dataset: Dataset | IterableDataset, seed: int) -> Dataset | IterableDataset:
    if isinstance(dataset, IterableDataset):
        return dataset.take(_COVERAGE_ROWS)
    return dataset.select(np.sort(np.random.default_rng(seed).permutation(len(dataset))[:_COVERAGE_ROWS]))


def _remedy(config: TrainingConfig, tokenizer: PreTrainedTokenizerBase) -> str:
    """What helps against bad coverage."""
    kind = kind_of(tokenizer)
    if config.model_name_or_path is None or kind is None:
        return "a model whose tokenizer was made for such texts would read it better"
    number = max(_USUAL_EXTENSION, 2 * config.extend_tokenizer)
    return f"--extend_tokenizer {number} would add {'words' if kind == 'word' else 'pieces'}"


def load_saved(config: TrainingConfig, tokenizers: TokenizerPair, label_names: Sequence[str]) -> TextVAEModel:
    """Open the saved model in fp32, with rows for new tokens and the dropout that the config asks for.

    Raises:
        InputError: if it cannot be opened, the config asks for another architecture, or tokenizers or labels do not
            fit.
    """
    name = str(config.model_name_or_path)
    model = load_model(name, torch.float32, _dropout(config))
    saved = load_tokenizers(name)
    _check_settings(config, model.config, saved)
    _check_label_names(name, model.config.label_names, label_names)
    extend_model(model, saved, tokenizers)
    check_match(model, tokenizers)
    return model


def _dropout(config: TrainingConfig) -> dict[str, dict]:
    """The dropout settings of the parts that the config describes; no weight depends on them."""
    default = TrainingConfig()
    described = {"encoder": config.encoder, "decoder": config.decoder}
    return {
        part: {name: value for name, value in settings.items() if "drop" in name}
        for part, settings in described.items()
        if settings != getattr(default, part)
    }


def _check_settings(config: TrainingConfig, saved: TextVAEConfig, tokenizers: TokenizerPair) -> None:
    """Raises InputError for a setting that the saved model cannot follow: neither the default nor its own value."""
    name = config.model_name_or_path
    if saved.is_language_model:
        refuse_without_latents(config, f"{name!r} has none")
    refuse_averaged_batch_norm(saved.mean_batch_norm, config, f"The mean_batch_norm of {name!r} keeps")
    if config.bag_of_words_weight and not saved.bag_of_words:
        raise InputError(f"{name} has no bag-of-words head: leave bag_of_words_weight out.")
    given, default, model = asdict(config), asdict(TrainingConfig()), saved.to_dict()
    ignored = _differing({name: given[name] for name in BOTTLENECK}, default, model)
    for part, sub_config in (("encoder", saved.encoder_config), ("decoder", saved.decoder_config)):
        values = model[part] | {name: model[part].get(own) for name, own in sub_config.attribute_map.items()}
        ignored += [f"{name} of the {part}" for name in _differing(given[part], default[part], values)]
    if config.tokenizer not in ("sentencepiece", kind_of(tokenizers.decoder)):
        ignored.append("tokenizer")
    if config.normalization not in (default["normalization"], normalization_of(tokenizers.decoder)):
        ignored.append("normalization")
    if ignored:
        raise InputError(
            f"The saved model {config.model_name_or_path!r} stays what it is, and has another {', '.join(ignored)}: "
            "leave that out, or train a new model without model_name_or_path."
        )
    num_tokens = len(tokenizers.decoder)
    if config.vocab_size not in (default["vocab_size"], num_tokens):  # it may have got fewer than asked for
        logger.warning(
            "The saved tokenizer has %d tokens, and vocab_size %d is ignored: extend_tokenizer adds some.",
            num_tokens,
            config.vocab_size,
        )


def _check_label_names(name: str, known: Sequence[str], label_names: Sequence[str]) -> None:
    if known and not label_names:
        raise InputError(f"{name} has labels: name the column of the corpus's own in label_column.")
    if label_names and not known:
        raise InputError(f"{name} has no labels: leave label_column out, or train a new model.")
    label_ids(label_names, known)  # raises InputError for an unknown one


def _differing(given: dict, default: dict, saved: dict) -> list[str]:
    return [name for name, value in given.items() if value not in (default.get(name), saved.get(name))]
