"""What a run is made of: corpus, tokenizer, model, batches, optimizer, each from the config."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from huggingface_hub.errors import StrictDataclassError
from torch.utils.data import DataLoader
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from textvae.averaging import WeightAverage
from textvae.batching import LengthGroupedBatches, StreamedBatches
from textvae.configuration import TextVAEConfig
from textvae.data import Texts, iterate_texts, load_corpus
from textvae.errors import InputError
from textvae.fine_tuning import extended_tokenizers, load_saved
from textvae.loading import join_parts
from textvae.modeling import TextVAEModel
from textvae.processes import from_main, this_process
from textvae.settings import nearest
from textvae.tokenization import (
    MAX_LENGTH,
    check_vocabulary,
    count_unknown,
    load_tokenizer,
    special_ids,
    train_tokenizer,
    train_word_tokenizer,
    unknown_sentence,
)
from textvae.tokenizer_pair import Pair, load_tokenizers, tokenizers_of_parts
from textvae.trained import PARTS, choose_trained, parameter_groups
from textvae.training_config import BOTTLENECK, TrainingConfig

logger = logging.getLogger(__name__)

# Of a run that is not told how long it is to be. In fewer steps no corpus, however small, teaches a decoder to read z.
DEFAULT_EPOCHS, LEAST_DEFAULT_STEPS = 0.8, 2_400


def read_corpus(config: TrainingConfig, texts: Texts | None = None) -> DatasetDict | IterableDatasetDict:
    return load_corpus(
        config.train_file,
        config.validation_file,
        config.dataset_name,
        config.dataset_config_name,
        texts=texts,
        text_column=config.text_column,
        target_column=config.target_column,
        label_column=config.label_column,
        validation_split=config.validation_split,
        streaming=config.streaming,
        max_train_samples=config.max_train_samples,
        max_validation_samples=config.max_validation_samples,
        seed=config.seed,
    )


def held_out_texts(dataset: Dataset | IterableDataset) -> Dataset:
    """The validation texts, in memory if they were streamed."""
    held_out = Dataset.from_list(list(dataset)) if isinstance(dataset, IterableDataset) else dataset
    if len(held_out) < 2:
        raise InputError(
            f"There are {len(held_out)} validation texts and 2 are needed: add texts, raise --validation_split, "
            "or give a --validation_file."
        )
    return held_out


def warn_of_unknown(held_out: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    """Say how many tokens of the validation texts, as they are decoded, the tokenizer does not know, if any."""
    columns = held_out.column_names
    ids = held_out["labels" if "labels" in columns else "input_ids"][:]
    num_unknown = count_unknown(tokenizer, held_out["target" if "target" in columns else "text"], ids)
    if num_unknown and this_process().is_main_process:
        logger.warning("In the validation texts %s", unknown_sentence(tokenizer, num_unknown, sum(map(len, ids))))


def prepare_tokenizers(config: TrainingConfig, corpus, checkpoint: Path | None) -> Pair:
    """The interrupted run's tokenizers, or those that the main process makes."""
    if checkpoint is not None:
        pair = load_tokenizers(config.output_dir)
        return _limited(pair, config.max_length or pair[0].model_max_length)
    return from_main(lambda: make_tokenizers(config, corpus))


def make_tokenizers(config: TrainingConfig, corpus) -> Pair:
    """The tokenizers of the run, with its `max_length` as their `model_max_length`."""
    if config.model_name_or_path is not None:
        pair = extended_tokenizers(config, corpus["train"])
        return _limited(pair, config.max_length or pair[0].model_max_length)
    if config.decoder_name_or_path is None:
        decoder = _make_tokenizer(config, corpus)
    else:
        decoder = config.decoder_name_or_path if config.tokenizer == "sentencepiece" else config.tokenizer
    pair = tokenizers_of_parts(config.encoder_tokenizer or config.encoder_name_or_path, decoder)
    return _limited(pair, config.max_length or MAX_LENGTH)


def _limited(pair: Pair, max_length: int) -> Pair:
    for tokenizer in pair:
        if tokenizer is not None:
            tokenizer.model_max_length = max_length
    return pair


def _make_tokenizer(config: TrainingConfig, corpus) -> PreTrainedTokenizerBase:
    if config.tokenizer not in ("sentencepiece", "word"):
        tokenizer = load_tokenizer(config.tokenizer)
        check_vocabulary(tokenizer, config.tokenizer)
        return tokenizer
    columns = ["text"] if config.target_column is None else ["text", "target"]
    if config.encoder_name_or_path is not None:
        columns = columns[-1:]  # what is written: the encoder has a tokenizer of its own
    texts = iterate_texts(corpus["train"], columns)
    if config.tokenizer == "word":
        return train_word_tokenizer(texts)
    return train_tokenizer(texts, config.vocab_size, seed=config.seed)


def build_model(
    config: TrainingConfig,
    tokenizer: PreTrainedTokenizerBase,
    encoder_tokenizer: PreTrainedTokenizerBase | None = None,
    label_names: Sequence[str] = (),
) -> TextVAEModel:
    """The model to train; `label_names` are those of the corpus, which a saved model must know.

    The tokenizer says in `model_max_length` how long its texts are.
    """
    if config.model_name_or_path is not None:
        model = load_saved(config, tokenizer, encoder_tokenizer, label_names)
    elif config.has_pretrained_parts:
        model = _model_of_parts(config, tokenizer, encoder_tokenizer, _bottleneck(config, label_names))
    else:
        model = _new_model(config, tokenizer, _bottleneck(config, label_names))
    _check_positions(tokenizer.model_max_length, model)
    if config.attn_implementation is not None:
        _choose_attention(model, config.attn_implementation)
    choose_trained(model, config)
    return model


def _choose_attention(model: TextVAEModel, implementation: str) -> None:
    try:
        for part in (model.encoder, model.decoder):
            if part is not None and part.config.model_type != "gru":  # which has none
                part.set_attn_implementation(implementation)
    except (ImportError, OSError, ValueError) as error:
        raise InputError(
            f"attn_implementation {implementation!r} cannot be had here ({shorten(str(error), 200)}): leave it out, or "
            "give eager or sdpa."
        ) from error


def _check_positions(max_length: int, model: TextVAEModel) -> None:
    for part, length in ((model.encoder, 0), (model.decoder, model.config.prefix_length)):
        if part is not None and (limit := _positions(part)) is not None and max_length + length > limit:
            raise InputError(
                f"The {part.config.model_type} has {limit} positions, too few for max_length {max_length} + {length}: "
                "lower max_length or raise max_position_embeddings."
            )


def _positions(part: PreTrainedModel) -> int | None:
    """How many tokens a text can have, where there is a limit."""
    name = "max_position_embeddings"
    limit = part.config.to_dict().get(part.config.attribute_map.get(name, name))
    table = getattr(getattr(part, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin count them from behind the padding's.
    first = 0 if getattr(table, "padding_idx", None) is None else table.padding_idx + 1
    return None if limit is None else limit - first


def _new_model(config: TrainingConfig, tokenizer: PreTrainedTokenizerBase, bottleneck: dict) -> TextVAEModel:
    ids = special_ids(tokenizer)
    shared = {"vocab_size": len(tokenizer), **ids}
    with _named_mistakes():
        model_config = TextVAEConfig(
            encoder=shared | config.encoder, decoder=shared | config.decoder, **bottleneck, **ids
        )
        _check_names("encoder", config.encoder, model_config.encoder)
        _check_names("decoder", config.decoder, model_config.decoder)
        return TextVAEModel(model_config)


def _model_of_parts(
    config: TrainingConfig,
    tokenizer: PreTrainedTokenizerBase,
    encoder_tokenizer: PreTrainedTokenizerBase | None,
    bottleneck: dict,
) -> TextVAEModel:
    held = {"encoder_dtype": config.dtype_of("encoder"), "decoder_dtype": config.dtype_of("decoder"),
            "quantization": config.decoder_quantization,
            "decoder_learns": "decoder" not in config.untrained_parts}  # fmt: skip
    with _named_mistakes():
        encoder, decoder = (config.origin_of(part) or _new_part(config, part, tokenizer) for part in PARTS)
        return join_parts(encoder, decoder, tokenizer, encoder_tokenizer, **held, **bottleneck)


def _new_part(config: TrainingConfig, part: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedConfig:
    """The config of the one part that is not pretrained."""
    vocab_size = max(tokenizer.get_vocab().values()) + 1
    given = getattr(config, part)
    made = TextVAEConfig(**{part: {"vocab_size": vocab_size, **special_ids(tokenizer)} | given})
    _check_names(part, given, getattr(made, part))
    return getattr(made, part)


@contextmanager
def _named_mistakes() -> Iterator[None]:
    """What transformers has against the settings of a new encoder or decoder, in one sentence."""
    try:
        yield
    except InputError:
        raise
    except (ArithmeticError, AssertionError, RuntimeError, TypeError, ValueError, StrictDataclassError) as error:
        reason = shorten(str(error), 200)
        raise InputError(f"No model can be built from these encoder and decoder: correct them ({reason}).") from error


def _bottleneck(config: TrainingConfig, label_names: Sequence[str]) -> dict:
    """What lies between encoder and decoder."""
    rest = {"bag_of_words": config.bag_of_words_weight > 0, "label_names": list(label_names)}
    return {name: getattr(config, name) for name in BOTTLENECK} | rest


def _check_names(part: str, given: dict, config: PreTrainedConfig) -> None:
    """Hugging Face's configs keep any name in silence."""
    known, kept = [*type(config)().to_dict(), *config.attribute_map], config.to_dict()
    for name in given:
        if name in kept and name not in known:
            raise InputError(
                f"The {part} {config.model_type} has no setting {name!r}; did you mean {nearest(name, known)!r}?"
            )


def reset_decoder(model: TextVAEModel, optimizer: torch.optim.Optimizer, seed: int) -> None:
    """Draw the weights of all that generates anew, and forget what the optimizer knew of them (Li et al. 2019)."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # and not that of a GPU, where each process has its own noise
        held = {part: model.get_submodule(part) for part in model.config.base or {}}  # an encoder that is not trained
        fresh = TextVAEModel(model.config, **held).decoding_modules()
    for name, module in model.decoding_modules().items():
        module.load_state_dict(fresh[name].state_dict())
        for parameter in module.parameters():
            optimizer.state.pop(parameter, None)


def compile_parts(model: TextVAEModel) -> None:
    for part in (model.encoder, model.decoder.base_model):
        if part is not None:
            part.compile(dynamic=True)


def make_batches(config, dataset, tokenizer, model: TextVAEModel, accelerator: Accelerator, encoder_tokenizer=None):
    _check_fit(config, dataset, model, accelerator)
    kind = StreamedBatches if config.streaming else LengthGroupedBatches
    return kind(
        dataset,
        tokenizer,
        config.per_device_train_batch_size,
        latent_size=model.config.latent_size,
        seed=config.seed,
        num_processes=accelerator.num_processes,
        process_index=accelerator.process_index,
        noise=config.input_noise,
        encoder_tokenizer=encoder_tokenizer,
    )


def _check_fit(config: TrainingConfig, dataset, model: TextVAEModel, accelerator: Accelerator) -> None:
    global_batch = config.per_device_train_batch_size * accelerator.num_processes
    if not config.streaming and len(dataset) < global_batch:
        raise InputError(
            f"The corpus has {len(dataset)} training texts, fewer than a batch of {global_batch}: "
            "lower --per_device_train_batch_size or add texts."
        )
    if config.bag_of_words_weight and not model.config.bag_of_words:
        raise InputError(f"{config.model_name_or_path} has no bag-of-words head: leave bag_of_words_weight out.")


def count_steps(config: TrainingConfig, batches) -> tuple[int, int]:
    """Optimizer steps of the run and of an epoch; a stream is one epoch long."""
    if config.streaming:
        return config.max_steps, config.max_steps
    steps_per_epoch = math.ceil(batches.batches_per_epoch / config.gradient_accumulation_steps)
    epochs = config.num_train_epochs or DEFAULT_EPOCHS
    total = math.ceil(batches.batches_per_epoch * epochs / config.gradient_accumulation_steps)
    if config.num_train_epochs is None:
        total = max(total, LEAST_DEFAULT_STEPS)
    return config.max_steps or total, steps_per_epoch


def make_optimizer(config: TrainingConfig, model: TextVAEModel) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter 2019) of what is trained, at the rate of each part."""
    betas = (config.adam_beta1, config.adam_beta2)
    return torch.optim.AdamW(parameter_groups(model, config), lr=config.learning_rate, betas=betas, fused=True)


def make_average(config: TrainingConfig, model: TextVAEModel, total_steps: int) -> WeightAverage:
    start = config.swa_start * total_steps if config.weight_averaging == "swa" else 0
    return WeightAverage(model, config.weight_averaging, config.ema_decay, start)


def read_batches(config: TrainingConfig, batches, step: int, total_steps: int) -> Iterator[dict]:
    """Micro-batches from optimizer step `step` on."""
    first, end = (number * config.gradient_accumulation_steps for number in (step, total_steps))
    options = {"batch_size": None, "num_workers": config.dataloader_num_workers,
               "pin_memory": torch.cuda.is_available(),
               # Without one of its own a loader draws from torch's random state, once more in a resumed run.
               "generator": torch.Generator().manual_seed(config.seed)}  # fmt: skip
    if config.streaming:
        batches.start_index = first
        return iter(DataLoader(batches, **options))
    return iter(DataLoader(batches, sampler=range(first, end), **options))


def read_random_batches(config: TrainingConfig, batches, step: int) -> Iterator[list[dict]]:
    """The micro-batches of any number of steps, drawn at random from the epoch of optimizer step `step`."""
    generator = np.random.default_rng((config.seed, step))
    position = step * config.gradient_accumulation_steps
    first = position - position % batches.batches_per_epoch
    while True:
        drawn = generator.integers(batches.batches_per_epoch, size=config.gradient_accumulation_steps)
        yield [batches[first + int(number)] for number in drawn]
