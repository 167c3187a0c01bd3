"""Settings of a run that do not go together: a table of conditions and sentences."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from textvae.data.duplicates import refuse_streamed_duplicates
from textvae.data.labels import refuse_streamed_labels
from textvae.errors import InputError
from textvae.modeling.configuration import refuse_with_labels

NEEDS_LATENTS = (
    *("kl_target", "kl_reset_decoder", "aggressive_encoder", "bag_of_words_weight", "mmd_weight", "committed_rate"),
    *("mean_batch_norm", "teacher"),
)
NEEDS_STANDARD_PRIOR = ("committed_rate", "mean_batch_norm", "mmd_weight")
NEEDS_PRETRAINED = ("freeze_encoder", "freeze_decoder", "lora", "bottleneck_phase")
PARTS = ("encoder", "decoder")


class Check(NamedTuple):
    """A condition of a [`TrainingConfig`] that cannot be, and the sentence that says so."""

    applies: Callable[[Any], Any]
    sentence: str


def check(config) -> None:
    """Raises InputError with the sentence of the first check that applies to a `TrainingConfig`."""
    for one in (*CORPUS, *_parts(), *_length(), *TRAINABLE, *_trainable_parts(), *TECHNIQUES):
        if one.applies(config):
            raise InputError(one.sentence)
    for part in config.lora:
        if part not in PARTS:
            raise InputError(f"lora names {part!r}, it must be encoder or decoder, both, or left out.")
    if not config.latent_injection:
        refuse_without_latents(config, "latent_injection is none")
    refuse_averaged_batch_norm(config.mean_batch_norm, config, "mean_batch_norm keeps")
    if config.drop_duplicates and config.streaming:
        refuse_streamed_duplicates()
    if config.label_column is not None:
        refuse_with_labels(config, NEEDS_STANDARD_PRIOR)
        if config.streaming:
            refuse_streamed_labels()


def refuse_without_latents(config, reason: str) -> None:
    """Raises InputError if a setting needs a z that the model has not, for this reason."""
    for name in NEEDS_LATENTS:
        if getattr(config, name):
            raise InputError(f"{name} needs a z, and {reason}: leave one of them out.")


def refuse_averaged_batch_norm(mean_batch_norm: float, config, keeps: str) -> None:
    """Raises InputError if weights are averaged whose batch norm has the statistics of the last weights."""
    if mean_batch_norm and config.weight_averaging != "none":
        raise InputError(
            f"{keeps} the statistics of the last weights, which are not those of an average: leave one of "
            "mean_batch_norm and weight_averaging out."
        )


def _starts_new(config) -> bool:
    return not config.has_pretrained_parts and config.model_name_or_path is None


CORPUS = (
    Check(
        lambda c: c.streaming and c.max_steps is None and c.max_minutes is None,
        "A stream has no end: give max_steps or max_minutes with streaming.",
    ),
    Check(
        lambda c: c.streaming and c.tokenizer == "word",
        "A word vocabulary needs the whole corpus: leave streaming out, or name a tokenizer.",
    ),
    Check(
        lambda c: c.normalization != "nfc" and (c.tokenizer != "sentencepiece" or c.decoder_name_or_path is not None),
        "normalization is for a sentencepiece tokenizer that is trained on the corpus: leave it or the other out.",
    ),
    Check(
        lambda c: c.streaming and c.dataloader_num_workers > 1,
        "A stream is read by one worker: set dataloader_num_workers to 0 or 1.",
    ),
    Check(
        lambda c: c.streaming and c.aggressive_encoder,
        "aggressive_encoder draws texts at random, which a stream cannot: leave one of them out.",
    ),
)


def _parts() -> Iterator[Check]:
    """Which model the run starts from."""
    yield Check(
        lambda c: c.has_pretrained_parts and c.model_name_or_path is not None,
        "model_name_or_path has an encoder and a decoder already: leave it or their names out.",
    )
    yield Check(
        lambda c: c.decoder_name_or_path is not None and c.tokenizer == "word",
        "A pretrained decoder has words of its own: leave tokenizer out, or name an existing one.",
    )
    yield Check(
        lambda c: c.encoder_tokenizer is not None and c.encoder_name_or_path is None,
        "encoder_tokenizer is for a pretrained encoder: name one in encoder_name_or_path.",
    )
    yield Check(
        lambda c: c.extend_tokenizer and c.model_name_or_path is None,
        "extend_tokenizer adds to the tokenizer of a saved model: name one in model_name_or_path.",
    )
    for name in NEEDS_PRETRAINED:
        yield Check(
            lambda c, name=name: getattr(c, name) and _starts_new(c),
            f"{name} is for a saved model or pretrained parts: name them, or leave it out.",
        )


def _length() -> Iterator[Check]:
    """What does not go with a length in minutes."""
    for name in ("max_steps", "num_train_epochs"):
        yield Check(
            lambda c, name=name: c.max_minutes is not None and getattr(c, name) is not None,
            f"max_minutes and {name} both say how long to train: leave one of them out, or set it to none.",
        )
    for name in ("aggressive_encoder", "kl_reset_decoder"):
        yield Check(
            lambda c, name=name: c.max_minutes is not None and getattr(c, name),
            f"{name} needs a number of steps that is known from the start: give max_steps in place of max_minutes.",
        )


def _trainable_parts() -> Iterator[Check]:
    """What the settings of one part mean for it."""
    for part in PARTS:
        yield Check(
            lambda c, part=part: part in c.untrained_parts and c.origin_of(part) is None,
            f"The {part} is new, and has to be trained: name a pretrained one in {part}_name_or_path, or leave "
            f"freeze_{part} and lora of the {part} out.",
        )
        yield Check(
            lambda c, part=part: part in c.lora and getattr(c, f"freeze_{part}"),
            f"lora freezes the {part} and trains adapters of it: leave lora or freeze_{part} out.",
        )
        yield Check(
            lambda c, part=part: getattr(c, f"freeze_{part}") and getattr(c, f"{part}_learning_rate") is not None,
            f"freeze_{part} leaves nothing for {part}_learning_rate: leave one of them out.",
        )


TRAINABLE = (
    Check(
        lambda c: c.extend_tokenizer and c.untrained_parts,
        "extend_tokenizer adds embeddings, which have to be trained: leave it out, or freeze_encoder, freeze_decoder "
        "and lora.",
    ),
    Check(
        lambda c: c.weights_dtype != "float32" and not c.untrained_parts,
        "weights_dtype is for frozen weights: freeze a part, or give it lora.",
    ),
    Check(
        lambda c: c.decoder_quantization != "none" and "decoder" not in c.untrained_parts,
        "A quantized decoder cannot be trained: give freeze_decoder, or lora for the decoder.",
    ),
    Check(
        lambda c: c.decoder_quantization != "none" and c.decoder_name_or_path is None,
        "decoder_quantization is for a pretrained decoder: name one in decoder_name_or_path.",
    ),
)

TECHNIQUES = (
    Check(
        lambda c: c.teacher is not None and c.streaming,
        "A teacher reads the texts of a batch again, which a stream has left: leave teacher or streaming out.",
    ),
    Check(
        lambda c: c.kl_reset_decoder and c.kl_target is not None,
        "kl_reset_decoder follows the KL schedule, and kl_target has none: leave one of them out.",
    ),
    Check(
        lambda c: c.kl_reset_decoder and c.kl_zero_phase == 0 and c.kl_schedule != "cyclical",
        "kl_reset_decoder needs a kl_zero_phase that ends, or kl_schedule cyclical: give one.",
    ),
    *(
        Check(
            lambda c, name=name: c.kl_reset_decoder and getattr(c, name) is not None,
            f"kl_reset_decoder would undo the decoder of {name}: leave one of them out.",
        )
        for name in ("model_name_or_path", "decoder_name_or_path")
    ),
)
