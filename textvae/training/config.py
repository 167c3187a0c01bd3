"""TrainingConfig: everything a run is told, from Python, a YAML file or the command line."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from textvae.config_fields import (
    COUNT,
    NOT_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE,
    check_settings,
    nearest,
    read_yaml,
    setting,
)
from textvae.data.noise import InputNoise
from textvae.errors import InputError
from textvae.objectives.controllers import RateController
from textvae.objectives.schedules import KLSchedule

CONFIG_FILE = "training_config.yaml"  # of a run
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
ENCODER = {"model_type": "bert", "hidden_size": 256, "num_hidden_layers": 2, "num_attention_heads": 4,
           "intermediate_size": 1024, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # fmt: skip
DECODER = {"model_type": "gru", "embedding_size": 256, "hidden_size": 512}


@dataclass
class TrainingConfig:
    """What to train, on what, and how. Flags are named as in `transformers.TrainingArguments` where it has them.

    Raises:
        InputError: for an unknown name, or a value that is out of its range.
    """

    # The corpus: a file, a dataset of the Hub, or the embedded default.
    train_file: str | None = setting(None, "texts to train on: txt (a text a line), csv, tsv, jsonl or parquet")
    validation_file: str | None = setting(None, "held-out texts; when not given, validation_split of the training's")
    dataset_name: str | None = setting(None, "a dataset of the Hub, or a directory that `datasets` opens")
    dataset_config_name: str | None = setting(None, "the configuration of that dataset")
    text_column: str = setting("text", "the column of the texts; txt files have none")
    target_column: str | None = setting(None, "what is decoded where that is not what is encoded: paraphrases, a style")
    label_column: str | None = setting(None, "labels of a conditional VAE: prior, encoder and decoder are told them")
    validation_split: float = setting(0.02, "the share of the texts that is held out, at most 5,000")
    streaming: bool = setting(False, "read the corpus while training, for one larger than memory; needs max_steps")
    max_train_samples: int | None = setting(None, "train on the first so many texts")
    max_validation_samples: int | None = setting(None, "hold out the first so many validation texts")
    max_length: int | None = setting(
        None, "tokens of a text, EOS included: 64, or a saved model's own, unless given", COUNT
    )

    # The tokenizer: pretrained parts come with their own, which the first two can replace.
    tokenizer: str = setting("sentencepiece", "sentencepiece or word, trained on the corpus, or the name of another")
    encoder_tokenizer: str | None = setting(None, "the name of another tokenizer for a pretrained encoder")
    vocab_size: int = setting(8000, "pieces of a sentencepiece tokenizer; a word tokenizer has all words", COUNT)
    extend_tokenizer: int = setting(0, "pieces or words, at most, that a saved model's tokenizer gains", NOT_NEGATIVE)

    # The model: a saved one to fine-tune, or pretrained parts, and the configs of those that are not.
    model_name_or_path: str | None = setting(None, "a saved textvae model, to train on")
    encoder_name_or_path: str | None = setting(None, "a pretrained encoder")
    decoder_name_or_path: str | None = setting(None, "a pretrained causal language model")
    encoder: dict = setting(ENCODER, "a Hugging Face config with its model_type; of this type what is not told stays")
    decoder: dict = setting(DECODER, "likewise, of a causal language model, or gru")
    latent_size: int = setting(64, "Z, the dimensions of z", COUNT)
    latent_injection: list[str] = setting(
        ["prefix"], "prefix: soft tokens of z; embedding: z in each input; output: z in each state; several; none"
    )
    latent_tokens: int = setting(1, "soft tokens of the injection prefix", COUNT)
    pooling: str = setting("mean", "of the encoder's states into one: mean, cls, last, max or attention")
    initializer_range: float = setting(0.08, "std of the new maps between encoder, z and decoder", POSITIVE)
    committed_rate: float = setting(0.0, "δ of a δ-VAE: nats per dimension that the KL cannot go below", NOT_NEGATIVE)
    mean_batch_norm: float = setting(0.0, "γ of a BN-VAE, the standard deviation of a batch's means", NOT_NEGATIVE)

    # What is trained of a saved model or of pretrained parts; what lies between encoder and decoder always is.
    freeze_encoder: bool = setting(False, "train nothing of a pretrained encoder")
    freeze_decoder: bool = setting(False, "train nothing of a pretrained decoder")
    lora: list[str] = setting([], "encoder, decoder: train low-rank adapters, and nothing else, of that part")
    lora_rank: int = setting(8, "rank of the adapters", COUNT)
    lora_alpha: float = setting(16.0, "the adapters are scaled by lora_alpha / lora_rank", POSITIVE)
    lora_dropout: float = setting(0.0, "dropout of the adapters' inputs", SHARE)
    bottleneck_phase: float = setting(0.0, "the first share of the steps trains nothing of encoder and decoder", SHARE)
    weights_dtype: Literal["float32", "bfloat16"] = setting("float32", "what weights that are not trained are held in")
    decoder_quantization: Literal["none", "8bit", "4bit"] = setting("none", "of a decoder that is not trained")

    # The objective, in nats: reconstruction + β · KL, some of it free.
    beta: float = setting(0.3, "β at the end of its schedule; 1 with free_bits 0 trains the true ELBO")
    kl_schedule: Literal["constant", "linear", "logistic", "cosine", "cyclical"] = setting("linear", "how β climbs")
    kl_warmup: float = setting(0.2, "the share of the steps in which it climbs, but in a cyclical schedule")
    kl_zero_phase: float = setting(0.0, "the share of the steps, or of each cycle, before that, in which β is 0")
    kl_num_cycles: int = setting(4, "cycles of the cyclical schedule")
    kl_ramp: float = setting(0.5, "the share of each cycle in which β climbs")
    kl_start: float = setting(0.0, "β at the start of each climb")
    free_bits: float = setting(0.55, "λ, nats of each dimension that are not minimised further", NOT_NEGATIVE)
    free_bits_mode: Literal["batch", "text"] = setting("batch", "whether λ is of a batch's mean KL or of each text's")
    kl_target: float | None = setting(None, "nats per text that β, up to beta, is steered to reach, with no schedule")
    kl_controller: Literal["pi", "mdr"] = setting("pi", "ControlVAE, or a minimum desired rate (Lagrangian)")
    kl_controller_gain: float = setting(1e-3, "how fast it steers", POSITIVE)
    kl_reset_decoder: bool = setting(False, "a new decoder whenever β begins to climb: after the zero phase, in cycles")
    aggressive_encoder: bool = setting(False, "steps of the encoder alone before each step, until z holds no more of x")
    bag_of_words_weight: float = setting(0.0, "weight of predicting the words from z alone", NOT_NEGATIVE)
    mmd_weight: float = setting(0.0, "weight of MMD(q(z), p(z))", NOT_NEGATIVE)
    word_dropout: float = setting(0.0, "the share of the decoder's input words that is masked")
    noise_drop: float = setting(0.0, "the share of the encoder's input words that is left out")
    noise_mask: float = setting(0.0, "the share of them that is masked")
    noise_substitute: float = setting(0.0, "the share of them that becomes another word")
    noise_shuffle: int = setting(0, "places that a word of the encoder's input may move")

    # The optimisation.
    output_dir: str = setting("runs/chitchat", "where the model, its checkpoints and its report go")
    overwrite_output_dir: bool = setting(False, "replace the run that is there")
    per_device_train_batch_size: int = setting(64, "texts of a batch, for each process", COUNT)
    per_device_eval_batch_size: int = setting(128, "texts of a batch of the evaluation, for each process", COUNT)
    gradient_accumulation_steps: int = setting(1, "batches of an optimizer step", COUNT)
    num_train_epochs: float | None = setting(
        None, "how often every text is read; unless given 0.8 times, and for 2,400 steps at least", POSITIVE
    )
    max_steps: int | None = setting(None, "optimizer steps, instead of epochs", COUNT)
    learning_rate: float = setting(2e-3, "of AdamW, after warming up", POSITIVE)
    encoder_learning_rate: float | None = setting(None, "of the encoder, where it is not learning_rate", POSITIVE)
    decoder_learning_rate: float | None = setting(None, "of the decoder, where it is not learning_rate", POSITIVE)
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = setting("linear", "how the learning rate falls")
    warmup_ratio: float = setting(0.03, "the share of the steps in which it climbs", SHARE)
    weight_decay: float = setting(0.0, "of AdamW", NOT_NEGATIVE)
    adam_beta1: float = setting(0.9, "of AdamW", SHARE)
    adam_beta2: float = setting(0.98, "of AdamW", SHARE)
    max_grad_norm: float = setting(1.0, "gradients are clipped to this norm", POSITIVE)
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = setting("auto", "auto: bf16 where it is faster")
    gradient_checkpointing: bool = setting(False, "compute activations twice instead of keeping them: less memory")
    attn_implementation: str | None = setting(None, "eager, sdpa, flash_attention_2, …, where one is to be chosen")
    torch_compile: bool = setting(False, "compile encoder and decoder: slow to start, faster after that")
    weight_averaging: Literal["none", "ema", "swa"] = setting("none", "keep the last weights, or an average")
    ema_decay: float = setting(0.999, "of ema, the moving average", SHARE)
    swa_start: float = setting(0.75, "the share of the steps after which weights count in swa, their mean", SHARE)
    seed: int = setting(0, "of weights, batches and noise", SEED)

    # What is watched and kept.
    eval_steps: int | None = setting(None, "steps between validations; an epoch when not given", COUNT)
    early_stopping_patience: int | None = setting(None, "stop after so many validations without a better −ELBO", COUNT)
    logging_steps: int = setting(20, "steps between what the bar and the trackers are told", COUNT)
    monitor_steps: int | None = setting(100, "steps between looks at what z is worth, which warn of a collapse", COUNT)
    save_steps: int = setting(500, "steps between checkpoints", COUNT)
    save_total_limit: int = setting(2, "checkpoints that are kept", COUNT)
    resume_from_checkpoint: str | None = setting(None, "a checkpoint's directory, or latest")
    report_to: list[str] = setting([], "Accelerate's trackers: tensorboard, wandb, …")
    dataloader_num_workers: int = setting(0, "processes that prepare batches", NOT_NEGATIVE)

    # The report at the end.
    num_importance_samples: int = setting(100, "K of the importance-weighted bound", COUNT)
    num_importance_texts: int | None = setting(500, "validation texts that it is taken on; none: all", COUNT)
    num_reconstructed_texts: int | None = setting(1000, "validation texts that are written back; none: all", COUNT)

    def __post_init__(self):
        check_settings(self)
        self.encoder, self.decoder = _completed(self.encoder, ENCODER), _completed(self.decoder, DECODER)
        if self.streaming and self.max_steps is None:
            raise InputError("A stream has no end: give max_steps with streaming.")
        if self.streaming and self.tokenizer == "word":
            raise InputError("A word vocabulary needs the whole corpus: leave streaming out, or name a tokenizer.")
        self._check_parts()
        self._check_trained()
        self._check_techniques()
        self.kl_weight, self.input_noise  # noqa: B018  both check their values

    def _check_parts(self) -> None:
        if self.has_pretrained_parts and self.model_name_or_path is not None:
            raise InputError("model_name_or_path has an encoder and a decoder already: leave it or their names out.")
        if self.decoder_name_or_path is not None and self.tokenizer == "word":
            raise InputError("A pretrained decoder has words of its own: leave tokenizer out, or name an existing one.")
        if self.encoder_tokenizer is not None and self.encoder_name_or_path is None:
            raise InputError("encoder_tokenizer is for a pretrained encoder: name one in encoder_name_or_path.")
        if self.extend_tokenizer and self.model_name_or_path is None:
            raise InputError("extend_tokenizer adds to the tokenizer of a saved model: name one in model_name_or_path.")

    def _check_trained(self) -> None:
        for name in NEEDS_PRETRAINED:
            if getattr(self, name) and not self.has_pretrained_parts and self.model_name_or_path is None:
                raise InputError(f"{name} is for a saved model or pretrained parts: name them, or leave it out.")
        for part in self.untrained_parts:
            if self.origin_of(part) is None:
                raise InputError(
                    f"The {part} is new, and has to be trained: name a pretrained one in {part}_name_or_path, or leave "
                    f"freeze_{part} and lora of the {part} out."
                )
        for part in self.lora:
            if part not in ("encoder", "decoder"):
                raise InputError(f"lora names {part!r}, it must be encoder or decoder, both, or left out.")
            if getattr(self, f"freeze_{part}"):
                raise InputError(f"lora freezes the {part} and trains adapters of it: leave lora or freeze_{part} out.")
        for part in ("encoder", "decoder"):
            if getattr(self, f"freeze_{part}") and getattr(self, f"{part}_learning_rate") is not None:
                raise InputError(f"freeze_{part} leaves nothing for {part}_learning_rate: leave one of them out.")
        if self.extend_tokenizer and self.untrained_parts:
            raise InputError(
                "extend_tokenizer adds embeddings, which have to be trained: leave it out, or freeze_encoder, "
                "freeze_decoder and lora."
            )
        if self.weights_dtype != "float32" and not self.untrained_parts:
            raise InputError("weights_dtype is for weights that are not trained: freeze a part, or give it lora.")
        if self.decoder_quantization != "none" and "decoder" not in self.untrained_parts:
            raise InputError("A quantized decoder cannot be trained: give freeze_decoder, or lora for the decoder.")
        if self.decoder_quantization != "none" and self.decoder_name_or_path is None:
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
        if self.mean_batch_norm and self.weight_averaging != "none":
            raise InputError(
                "mean_batch_norm keeps the statistics of the last weights, which are not those of an average: leave it "
                "or weight_averaging out."
            )
        if self.streaming and self.dataloader_num_workers > 1:
            raise InputError("A stream is read by one worker: set dataloader_num_workers to 0 or 1.")
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
        return self.encoder_name_or_path is not None or self.decoder_name_or_path is not None

    @property
    def untrained_parts(self) -> list[str]:
        """Of encoder and decoder, those whose own weights are not trained."""
        frozen = {"encoder": self.freeze_encoder, "decoder": self.freeze_decoder}
        return [part for part, is_frozen in frozen.items() if is_frozen or part in self.lora]

    def dtype_of(self, part: str) -> torch.dtype:
        """What the weights of `encoder` or `decoder` are held in."""
        is_bf16 = part in self.untrained_parts and self.weights_dtype == "bfloat16"
        return torch.bfloat16 if is_bf16 else torch.float32

    def origin_of(self, part: str) -> str | None:
        """The name or path that `encoder` or `decoder` is opened from; None of a new one."""
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
        known = [field.name for field in fields(cls)]
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


def _completed(values: dict, default: dict) -> dict:
    """What a model of the default's type is not told stays as in the default; one of another type starts bare."""
    return default | values if values.get("model_type", default["model_type"]) == default["model_type"] else values
