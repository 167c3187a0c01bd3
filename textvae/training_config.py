"""TrainingConfig: everything a run is told, from Python, a YAML file or the command line."""

import math
import types
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
import yaml

from textvae.batching import InputNoise
from textvae.controllers import RateController
from textvae.errors import InputError
from textvae.schedules import KLSchedule

AT_LEAST_ONE = (
    "latent_size", "latent_tokens", "max_length", "vocab_size", "per_device_train_batch_size", "save_steps",
    "per_device_eval_batch_size", "gradient_accumulation_steps", "logging_steps", "num_importance_samples",
    "save_total_limit", "lora_rank",
)  # fmt: skip
AT_LEAST_ONE_OR_NONE = (
    "eval_steps", "max_steps", "monitor_steps", "early_stopping_patience", "num_importance_texts",
    "num_reconstructed_texts",
)  # fmt: skip
ABOVE_ZERO = (
    "num_train_epochs", "learning_rate", "max_grad_norm", "initializer_range", "kl_controller_gain", "lora_alpha",
)  # fmt: skip
ABOVE_ZERO_OR_NONE = ("encoder_learning_rate", "decoder_learning_rate")
NOT_NEGATIVE = (
    "free_bits", "weight_decay", "dataloader_num_workers", "committed_rate", "mean_batch_norm", "bag_of_words_weight",
    "mmd_weight", "extend_tokenizer",
)  # fmt: skip
NEEDS_LATENTS = (
    "kl_target", "kl_reset_decoder", "aggressive_encoder", "bag_of_words_weight", "mmd_weight", "committed_rate",
    "mean_batch_norm",
)  # fmt: skip
NEEDS_STANDARD_PRIOR = ("committed_rate", "mean_batch_norm", "mmd_weight")
NEEDS_PRETRAINED = ("freeze_encoder", "freeze_decoder", "lora", "bottleneck_phase")
# What lies between encoder and decoder.
BOTTLENECK = (
    "latent_size", "latent_injection", "latent_tokens", "pooling", "initializer_range", "committed_rate",
    "mean_batch_norm",
)  # fmt: skip
SHARES = ("warmup_ratio", "adam_beta1", "adam_beta2", "ema_decay", "swa_start", "lora_dropout", "bottleneck_phase")


def _encoder() -> dict:
    return {"model_type": "bert", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
            "intermediate_size": 1024, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip


def _decoder() -> dict:
    return {"model_type": "gru", "embedding_size": 256, "hidden_size": 512}


@dataclass
class TrainingConfig:
    """What to train, on what, and how. Flags are named as in `transformers.TrainingArguments` where it has them.

    Raises:
        InputError: for an unknown name, or a value that is out of its range.
    """

    # The corpus: a file (txt, csv, tsv, jsonl, parquet), a dataset of the Hub, or the embedded default.
    train_file: str | None = None
    validation_file: str | None = None
    dataset_name: str | None = None
    dataset_config_name: str | None = None
    text_column: str = "text"
    target_column: str | None = None  # what is decoded where that is not what is encoded: paraphrases, another style
    label_column: str | None = None  # of a conditional VAE: what prior, encoder and decoder are told beside the text
    validation_split: float = 0.02
    streaming: bool = False
    max_train_samples: int | None = None
    max_validation_samples: int | None = None
    max_length: int = 64  # tokens of a text, EOS included, on either side

    # The tokenizer: "sentencepiece" or "word", trained on the corpus, or the name or path of an existing one.
    # Pretrained parts come with their own, which `tokenizer` (the decoder's) and `encoder_tokenizer` can replace.
    tokenizer: str = "sentencepiece"
    encoder_tokenizer: str | None = None
    vocab_size: int = 8000
    extend_tokenizer: int = 0  # up to so many pieces, or words, of this corpus are added to a saved model's tokenizer

    # The model: a saved one to fine-tune, or two pretrained parts, or the configs of its parts; a part of the default's
    # `model_type`, or of none, keeps what it is not told.
    model_name_or_path: str | None = None
    encoder_name_or_path: str | None = None
    decoder_name_or_path: str | None = None
    encoder: dict = field(default_factory=_encoder)
    decoder: dict = field(default_factory=_decoder)
    latent_size: int = 64
    latent_injection: list[str] = field(default_factory=lambda: ["embedding"])
    latent_tokens: int = 1
    pooling: str = "mean"
    initializer_range: float = 0.08  # of the maps between encoder, z and decoder
    committed_rate: float = 0.0  # δ of a δ-VAE: nats per dimension that the KL cannot go below
    mean_batch_norm: float = 0.0  # γ of a BN-VAE, the standard deviation of the means

    # What is trained of a saved model or of pretrained parts; what lies between encoder and decoder always is.
    freeze_encoder: bool = False
    freeze_decoder: bool = False
    lora: list[str] = field(default_factory=list)  # encoder, decoder: low-rank adapters, and nothing else of that part
    lora_rank: int = 8
    lora_alpha: float = 16.0
    lora_dropout: float = 0.0
    bottleneck_phase: float = 0.0  # share of the steps in which nothing of encoder and decoder is trained yet
    weights_dtype: Literal["float32", "bfloat16"] = "float32"  # of weights that are not trained
    decoder_quantization: Literal["none", "8bit", "4bit"] = "none"

    # The objective, in nats: reconstruction + β · KL, some of it free.
    beta: float = 0.3
    kl_schedule: Literal["constant", "linear", "logistic", "cosine", "cyclical"] = "linear"
    kl_warmup: float = 0.2
    kl_zero_phase: float = 0.0
    kl_num_cycles: int = 4
    kl_ramp: float = 0.5
    kl_start: float = 0.0
    free_bits: float = 0.55  # nats per dimension
    free_bits_mode: Literal["batch", "text"] = "batch"
    kl_target: float | None = None  # nats per text: β, up to `beta`, is then steered to reach it, without schedule
    kl_controller: Literal["pi", "mdr"] = "pi"  # ControlVAE's, or the Lagrangian of a minimum desired rate
    kl_controller_gain: float = 1e-3
    kl_reset_decoder: bool = False  # a new decoder whenever β begins to climb: after the zero phase, in every cycle
    aggressive_encoder: bool = False  # steps of the encoder alone before each step, until z holds no more of x
    bag_of_words_weight: float = 0.0
    mmd_weight: float = 0.0
    word_dropout: float = 0.0
    noise_drop: float = 0.0
    noise_mask: float = 0.0
    noise_substitute: float = 0.0
    noise_shuffle: int = 0

    # The optimisation.
    output_dir: str = "runs/chitchat"
    overwrite_output_dir: bool = False
    per_device_train_batch_size: int = 64
    per_device_eval_batch_size: int = 128
    gradient_accumulation_steps: int = 1
    num_train_epochs: float = 0.8
    max_steps: int | None = None
    learning_rate: float = 2e-3
    encoder_learning_rate: float | None = None  # `learning_rate` when not given
    decoder_learning_rate: float | None = None
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = "linear"
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.98
    max_grad_norm: float = 1.0
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = "auto"  # auto: bf16 where a matrix product gains from it
    gradient_checkpointing: bool = False
    torch_compile: bool = False
    weight_averaging: Literal["none", "ema", "swa"] = "none"  # what is judged and kept: the last weights or an average
    ema_decay: float = 0.999
    swa_start: float = 0.75  # share of the steps after which weights count
    seed: int = 0

    # What is watched and kept.
    eval_steps: int | None = None  # after every epoch when not given
    early_stopping_patience: int | None = None  # evaluations without a better −ELBO
    logging_steps: int = 20
    monitor_steps: int | None = 100  # how often what z is worth is measured, and a collapse warned of; none: never
    save_steps: int = 500
    save_total_limit: int = 2
    resume_from_checkpoint: str | None = None  # a checkpoint's directory, or "latest"
    report_to: list[str] = field(default_factory=list)  # tensorboard, wandb: Accelerate's trackers
    dataloader_num_workers: int = 0

    # The report at the end.
    num_importance_samples: int = 100
    num_importance_texts: int | None = 500
    num_reconstructed_texts: int | None = 1000

    def __post_init__(self):
        for name, hint in get_type_hints(type(self)).items():
            setattr(self, name, _read(name, getattr(self, name), hint))
        self.encoder, self.decoder = _completed(self.encoder, _encoder()), _completed(self.decoder, _decoder())
        self._require(AT_LEAST_ONE, lambda value: value >= 1, "at least 1")
        self._require(AT_LEAST_ONE_OR_NONE, lambda value: value is None or value >= 1, "at least 1, or left out")
        self._require(ABOVE_ZERO, lambda value: 0 < value < math.inf, "a number above 0")
        self._require(ABOVE_ZERO_OR_NONE, lambda value: value is None or 0 < value < math.inf, "a number above 0")
        self._require(NOT_NEGATIVE, lambda value: 0 <= value < math.inf, "0 or more")
        self._require(SHARES, lambda value: 0 <= value <= 1, "from 0 to 1")
        self._require(["seed"], lambda value: 0 <= value < 2**32, "from 0 to 2**32 - 1")
        if self.streaming and self.max_steps is None:
            raise InputError("A stream has no end: give max_steps with streaming.")
        if self.streaming and self.tokenizer == "word":
            raise InputError("A word vocabulary needs the whole corpus: leave streaming out, or name a tokenizer.")
        self._check_parts()
        self._check_trained()
        self._check_techniques()
        self.kl_weight, self.input_noise  # noqa: B018  both check their values

    def _require(self, names: Sequence[str], is_right: Callable[[Any], bool], wanted: str) -> None:
        for name in names:
            if not is_right(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)}, it must be {wanted}.")

    def _check_parts(self) -> None:
        if (self.encoder_name_or_path is None) != (self.decoder_name_or_path is None):
            raise InputError("encoder_name_or_path and decoder_name_or_path go together: give both, or none.")
        if self.has_pretrained_parts and self.model_name_or_path is not None:
            raise InputError("model_name_or_path has an encoder and a decoder already: leave it or their names out.")
        if self.has_pretrained_parts and self.tokenizer == "word":
            raise InputError("A pretrained decoder has words of its own: leave tokenizer out, or name an existing one.")
        if self.encoder_tokenizer is not None and not self.has_pretrained_parts:
            raise InputError("encoder_tokenizer is for a pretrained encoder: name one in encoder_name_or_path.")
        if self.extend_tokenizer and self.model_name_or_path is None:
            raise InputError("extend_tokenizer adds to the tokenizer of a saved model: name one in model_name_or_path.")

    def _check_trained(self) -> None:
        for name in NEEDS_PRETRAINED:
            if getattr(self, name) and not self.has_pretrained_parts and self.model_name_or_path is None:
                raise InputError(f"{name} is for a saved model or pretrained parts: name them, or leave it out.")
        for part in self.lora:
            if part not in ("encoder", "decoder"):
                raise InputError(f"lora names {part!r}, it must be encoder or decoder, both, or left out.")
            if getattr(self, f"freeze_{part}"):
                raise InputError(f"lora freezes the {part} and trains adapters of it: leave lora or freeze_{part} out.")
        for part in ("encoder", "decoder"):
            if getattr(self, f"freeze_{part}") and getattr(self, f"{part}_learning_rate") is not None:
                raise InputError(f"freeze_{part} leaves nothing for {part}_learning_rate: leave one of them out.")
        if self.extend_tokenizer and self.kept_parts:
            raise InputError(
                "extend_tokenizer adds embeddings, which have to be trained: leave it out, or freeze_encoder, "
                "freeze_decoder and lora."
            )
        if self.weights_dtype != "float32" and not self.kept_parts:
            raise InputError("weights_dtype is for weights that are not trained: freeze a part, or give it lora.")
        if self.decoder_quantization != "none" and "decoder" not in self.kept_parts:
            raise InputError("A quantized decoder cannot be trained: give freeze_decoder, or lora for the decoder.")
        if self.decoder_quantization != "none" and not self.has_pretrained_parts:
            raise InputError("decoder_quantization is for a pretrained decoder: name one in decoder_name_or_path.")

    def _check_techniques(self) -> None:
        if self.kl_target is not None:
            self.new_rate_controller()
        if not self.latent_injection:
            for name in NEEDS_LATENTS:
                if getattr(self, name):
                    raise InputError(f"{name} needs a z, and latent_injection is none: leave one of them out.")
        if self.label_column is not None:
            self._check_labelled()
        if self.aggressive_encoder and self.streaming:
            raise InputError("aggressive_encoder draws texts at random, which a stream cannot: leave one of them out.")
        if self.kl_reset_decoder and self.kl_target is not None:
            raise InputError("kl_reset_decoder follows the KL schedule, and kl_target has none: leave one of them out.")
        if self.kl_reset_decoder and self.kl_zero_phase == 0 and self.kl_schedule != "cyclical":
            raise InputError("kl_reset_decoder needs a kl_zero_phase that ends, or kl_schedule cyclical: give one.")
        for name in ("model_name_or_path", "decoder_name_or_path"):
            if self.kl_reset_decoder and getattr(self, name) is not None:
                raise InputError(f"kl_reset_decoder would undo the decoder of {name}: leave one of them out.")

    def _check_labelled(self) -> None:
        for name in NEEDS_STANDARD_PRIOR:
            if getattr(self, name):
                raise InputError(f"{name} is made for the prior N(0, I), and labels have their own: leave one out.")
        if self.streaming:
            raise InputError(
                "The labels of a stream are not known before its end: leave streaming or label_column out."
            )

    @property
    def has_pretrained_parts(self) -> bool:
        return self.encoder_name_or_path is not None

    @property
    def kept_parts(self) -> list[str]:
        """Of encoder and decoder, those whose own weights are not trained."""
        frozen = {"encoder": self.freeze_encoder, "decoder": self.freeze_decoder}
        return [part for part, is_frozen in frozen.items() if is_frozen or part in self.lora]

    def dtype_of(self, part: str) -> torch.dtype:
        """What the weights of `encoder` or `decoder` are held in."""
        is_bf16 = part in self.kept_parts and self.weights_dtype == "bfloat16"
        return torch.bfloat16 if is_bf16 else torch.float32

    def origin_of(self, part: str) -> str:
        """The name or path that `encoder` or `decoder` is opened from."""
        names = {"encoder": self.encoder_name_or_path, "decoder": self.decoder_name_or_path}
        return self.model_name_or_path or names[part]

    def new_rate_controller(self) -> RateController | None:
        """What steers β, if anything does."""
        if self.kl_target is None:
            return None
        return RateController(self.kl_controller, self.kl_target, self.beta, self.kl_controller_gain)

    @property
    def kl_weight(self) -> KLSchedule:
        """β as a function of the step."""
        return KLSchedule(self.kl_schedule, self.beta, self.kl_warmup, self.kl_zero_phase, self.kl_num_cycles,
                          self.kl_ramp, self.kl_start)  # fmt: skip

    @property
    def input_noise(self) -> InputNoise:
        return InputNoise(self.noise_drop, self.noise_mask, self.noise_substitute, self.noise_shuffle,
                          self.word_dropout)  # fmt: skip

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainingConfig":
        """A config from names and values, each read as what its field is: `1e-3` of a YAML file is a number."""
        known = get_type_hints(cls)
        for name in values:
            if name not in known:
                raise InputError(f"There is no setting {name!r}; did you mean {nearest(str(name), known)!r}?")
        return cls(**values)

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: dict[str, Any] | None = None) -> "TrainingConfig":
        """A config from a YAML file of names and values; `overrides` win."""
        return cls.from_dict(read_yaml(path) | (overrides or {}))

    def save(self, path: str | Path) -> None:
        Path(path).write_text(yaml.safe_dump(asdict(self), sort_keys=False))


def read_yaml(path: str | Path) -> dict:
    """The names and values of a YAML file.

    Raises:
        InputError: if it is missing or is not YAML with one value per name.
    """
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}.") from error
    if not isinstance(values or {}, dict):
        raise InputError(f"{path} must hold lines of `name: value`.")
    return values or {}


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant: the first that holds this one, or else the most similar."""
    longer = (right for right in known if f"_{name}_" in f"_{right}_")
    return next(longer, get_close_matches(name, known, n=1, cutoff=0)[0])


def _completed(values: dict, default: dict) -> dict:
    """What a model of the default's type is not told stays as in the default; one of another type starts bare."""
    return default | values if values.get("model_type", default["model_type"]) == default["model_type"] else values


def _read(name: str, value: Any, hint: Any) -> Any:
    """`value`, possibly a string of the command line or of YAML, as the type of its field."""
    if get_origin(hint) in (Union, types.UnionType):
        if value is None or value in ("none", "None", "null"):
            return None
        hint = next(part for part in get_args(hint) if part is not type(None))
    try:
        return _as(value, hint)
    except (TypeError, ValueError, OverflowError, yaml.YAMLError) as error:
        kind = getattr(hint, "__name__", str(hint))
        choices = f"one of {', '.join(get_args(hint))}" if get_origin(hint) is Literal else f"of type {kind}"
        raise InputError(f"{name} must be {choices}, not {value!r}.") from error


def _as(value: Any, hint: Any) -> Any:
    if get_origin(hint) is Literal:
        value = "no" if value is False else value  # YAML reads a bare `no` as False
        if value not in get_args(hint):
            raise ValueError
        return value
    if hint is bool:
        value = yaml.safe_load(value) if isinstance(value, str) else value
        if not isinstance(value, bool):
            raise ValueError
        return value
    if hint is dict:
        value = yaml.safe_load(value) if isinstance(value, str) else value
        if not isinstance(value, dict):
            raise ValueError
        return value
    if get_origin(hint) is list:
        values = value if isinstance(value, list) else [value]
        return [] if values == ["none"] else [_as(item, str) for item in values]
    if value is None or isinstance(value, (bool, list, dict)) or (hint is int and float(value) % 1):
        raise ValueError
    return int(float(value)) if hint is int else hint(value)
