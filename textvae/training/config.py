"""TrainingConfig: every setting of a run, from Python, a YAML file or the command line."""

from dataclasses import asdict, dataclass
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
    from_names,
    read_yaml,
    same_setting,
    setting,
)
from textvae.data.noise import InputNoise
from textvae.data.normalization import Normalization
from textvae.evaluation.config import EvaluationConfig
from textvae.objectives.controllers import RateController
from textvae.objectives.schedules import KLSchedule
from textvae.training.checks import check

CONFIG_FILE = "training_config.yaml"  # of a run
# The settings of TextVAEConfig that a run can choose.
BOTTLENECK = (
    *("latent_size", "latent_injection", "latent_tokens", "pooling", "pooling_queries", "initializer_range"),
    *("committed_rate", "mean_batch_norm", "tie_encoder_embeddings", "position_waves"),
)
ENCODER = {
    "model_type": "bert",
    "hidden_size": 256,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 1024,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
DECODER = {"model_type": "gru", "embedding_size": 256, "hidden_size": 512}


@dataclass
class TrainingConfig:
    """Every setting of a run. Names are those of `transformers.TrainingArguments` where it has them.

    Raises:
        InputError: for an unknown name, or a value that is out of its range.
    """

    # The corpus: files, a dataset of the Hub, or the embedded default.
    train_file: list[str] | None = setting(
        None,
        "training texts: files, patterns or directories of txt (one text per line), csv, tsv, jsonl, parquet or arrow",
    )
    validation_file: list[str] | None = setting(
        None, "held-out texts, also files; if not given, validation_split of the training texts"
    )
    dataset_name: str | None = setting(None, "a dataset of the Hub, or a directory of files")
    dataset_config_name: str | None = setting(None, "the configuration of that dataset")
    text_column: str = setting("text", "the column of the texts; a txt file has none")
    target_column: str | None = setting(
        None, "the column of the texts to decode, if not the encoded ones: paraphrases, a style"
    )
    label_column: str | None = setting(None, "the column of the labels, for a conditional VAE")
    validation_split: float = setting(0.02, "share of the texts to hold out; 2 to 5,000 texts")
    drop_duplicates: bool = setting(
        False, "drop texts that the corpus has already, and held-out texts that training has"
    )
    streaming: bool = setting(False, "read a corpus larger than memory while training; needs max_steps or max_minutes")
    max_train_samples: int | None = setting(None, "use only the first so many training texts", COUNT)
    max_validation_samples: int | None = setting(None, "use only the first so many validation texts", COUNT)
    max_length: int | None = setting(
        None, "maximum tokens of a text, EOS included; if not given 64, or that of a saved model", COUNT
    )

    # The tokenizers. Pretrained parts bring their own; the first two settings replace these.
    tokenizer: str = setting(
        "sentencepiece", "sentencepiece or word, trained on the corpus, or an existing one by name"
    )
    encoder_tokenizer: str | None = setting(None, "an existing tokenizer for a pretrained encoder, by name")
    vocab_size: int = setting(8000, "pieces of a sentencepiece tokenizer; a word tokenizer takes all words", COUNT)
    normalization: Normalization = setting(
        "nfc", "what a sentencepiece tokenizer changes in a text: nfc, accents; nfkc, plain forms and single spaces"
    )
    extend_tokenizer: int = setting(0, "add up to so many pieces or words to a saved model's tokenizer", NOT_NEGATIVE)

    # The model: a saved one to fine-tune, or pretrained parts, and the configs of new parts.
    model_name_or_path: str | None = setting(None, "a saved textvae model to fine-tune")
    encoder_name_or_path: str | None = setting(None, "a pretrained encoder")
    decoder_name_or_path: str | None = setting(None, "a pretrained causal language model")
    encoder: dict = setting(ENCODER, "the config of a new encoder: model_type and what differs from the default")
    decoder: dict = setting(DECODER, "the config of a new decoder: a causal language model, or gru")
    latent_size: int = setting(64, "Z, the dimensions of z", COUNT)
    latent_injection: list[str] = setting(
        ["embedding", "output"],
        "prefix: z as soft tokens; embedding: z in every input; output: z in every state; several; none",
    )
    latent_tokens: int = setting(1, "soft tokens of the injection prefix", COUNT)
    pooling: str = setting(
        "mean", "how the encoder's states become one: mean, cls, last, max or attention; queries: they become several"
    )
    pooling_queries: int = setting(8, "learned queries, each of which gives its share of the dimensions of z", COUNT)
    position_waves: int = setting(
        0, "waves by which mean pooling and the injections embedding and output tell positions apart", NOT_NEGATIVE
    )
    tie_encoder_embeddings: bool = setting(
        True, "new encoder and decoder share their token embeddings, if these have one shape"
    )
    initializer_range: float = setting(
        0.08, "standard deviation of the initial weights of the maps to and from z", POSITIVE
    )
    committed_rate: float = setting(0.0, "δ of a δ-VAE: the least KL of each dimension, in nats", NOT_NEGATIVE)
    mean_batch_norm: float = setting(0.0, "γ of a BN-VAE: the standard deviation of the means in a batch", NOT_NEGATIVE)

    # Trainable parameters of a saved model or of pretrained parts; the bottleneck is always trained.
    freeze_encoder: bool = setting(False, "freeze a pretrained encoder")
    freeze_decoder: bool = setting(False, "freeze a pretrained decoder")
    lora: list[str] = setting([], "encoder, decoder: freeze this part and train low-rank adapters on it")
    lora_rank: int = setting(8, "rank of the adapters", COUNT)
    lora_alpha: float = setting(16.0, "the adapters are scaled by lora_alpha / lora_rank", POSITIVE)
    lora_dropout: float = setting(0.0, "dropout on the inputs of the adapters", SHARE)
    bottleneck_phase: float = setting(0.0, "share of the steps, at the start, that train the bottleneck alone", SHARE)
    weights_dtype: Literal["float32", "bfloat16"] = setting("float32", "dtype of frozen weights")
    decoder_quantization: Literal["none", "8bit", "4bit"] = setting("none", "quantization of a frozen decoder")

    # The objective, in nats: reconstruction + β · KL with free bits.
    beta: float = setting(0.3, "β at the end of its schedule; 1 with free_bits 0 trains the true ELBO")
    kl_schedule: Literal["constant", "linear", "logistic", "cosine", "cyclical"] = setting("linear", "how β climbs")
    kl_warmup: float = setting(0.2, "share of the steps in which β climbs; a cyclical schedule has kl_ramp")
    kl_zero_phase: float = setting(0.0, "share of the steps (cyclical: of each cycle) with β = 0, before β climbs")
    kl_num_cycles: int = setting(4, "cycles of the cyclical schedule")
    kl_ramp: float = setting(0.5, "share of each cycle in which β climbs")
    kl_start: float = setting(0.0, "β at the start of each climb")
    free_bits: float = setting(
        0.55, "λ: a KL below so many nats is not reduced further, in each dimension", NOT_NEGATIVE
    )
    free_bits_mode: Literal["batch", "text"] = setting("batch", "λ holds for the mean KL of a batch, or for each text")
    kl_target: float | None = setting(None, "steer β, up to beta, until the KL is so many nats; replaces kl_schedule")
    kl_controller: Literal["pi", "mdr"] = setting("pi", "pi: ControlVAE; mdr: minimum desired rate (Lagrangian)")
    kl_controller_gain: float = setting(1e-3, "how fast the controller changes β", POSITIVE)
    kl_reset_decoder: bool = setting(
        False, "reset the decoder when β starts to climb: after the zero phase, in each cycle"
    )
    aggressive_encoder: bool = setting(
        False, "before each step train the encoder alone, until the validation MI stops rising"
    )
    bag_of_words_weight: float = setting(0.0, "weight of a term that predicts the words from z alone", NOT_NEGATIVE)
    mmd_weight: float = setting(0.0, "weight of MMD(q(z), p(z))", NOT_NEGATIVE)
    teacher: str | None = setting(None, "a pretrained sentence encoder: z keeps the similarities that it sees in texts")
    teacher_weight: float = setting(600.0, "weight of the difference between the two similarities", POSITIVE)
    word_dropout: float = setting(0.0, "share of the decoder's input tokens that are masked")
    noise_drop: float = setting(0.0, "share of the encoder's input tokens that are dropped")
    noise_mask: float = setting(0.0, "share of the encoder's input tokens that are masked")
    noise_substitute: float = setting(0.0, "share of the encoder's input tokens that are replaced at random")
    noise_shuffle: int = setting(0, "places by which a token of the encoder's input may move")
    noise_typos: float = setting(0.0, "share of the encoder's words that get a typing error")

    # The optimisation.
    output_dir: str = setting("runs/chitchat", "directory of the model, its checkpoints and its report")
    overwrite_output_dir: bool = setting(False, "replace the run in that directory")
    per_device_train_batch_size: int = setting(64, "texts in a batch, per process", COUNT)
    per_device_eval_batch_size: int = setting(128, "texts in a batch of the evaluation, per process", COUNT)
    gradient_accumulation_steps: int = setting(1, "batches in an optimizer step", COUNT)
    num_train_epochs: float | None = setting(
        None, "passes over the texts; if not given 0.5, and at least 1,500 steps", POSITIVE
    )
    max_steps: int | None = setting(None, "number of optimizer steps; replaces num_train_epochs", COUNT)
    max_minutes: float | None = setting(
        None,
        "minutes of training, with its validations, without the report; in place of max_steps",
        POSITIVE,
    )
    optimizer: Literal["adamw", "muon"] = setting(
        "muon", "muon: AdamW with orthogonal updates of the hidden matrices, which learn faster"
    )
    learning_rate: float = setting(4e-3, "learning rate after the warm-up", POSITIVE)
    encoder_learning_rate: float | None = setting(None, "another learning rate for the encoder", POSITIVE)
    decoder_learning_rate: float | None = setting(None, "another learning rate for the decoder", POSITIVE)
    lr_scheduler_type: Literal[
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup", "inverse_sqrt"
    ] = setting("linear", "schedule of the learning rate")
    warmup_ratio: float = setting(0.03, "share of the steps in which the learning rate climbs", SHARE)
    weight_decay: float = setting(0.0, "weight decay of AdamW", NOT_NEGATIVE)
    adam_beta1: float = setting(0.9, "β₁ of AdamW", SHARE)
    adam_beta2: float = setting(0.98, "β₂ of AdamW", SHARE)
    max_grad_norm: float = setting(1.0, "gradients are clipped to this norm", POSITIVE)
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = setting("auto", "auto: bf16 if it is faster here")
    gradient_checkpointing: bool = setting(False, "recompute activations in the backward pass: less memory, slower")
    attn_implementation: str | None = setting(None, "eager, sdpa, flash_attention_2, …")
    torch_compile: bool = setting(False, "compile encoder and decoder: slow to start, then faster")
    weight_averaging: Literal["none", "ema", "swa"] = setting(
        "none", "keep an average of the weights: ema, a moving one; swa, their mean"
    )
    ema_decay: float = setting(0.999, "decay of ema", SHARE)
    swa_start: float = setting(0.75, "share of the steps after which swa starts to average", SHARE)
    seed: int = setting(0, "random seed of weights, batches and noise", SEED)

    # Monitoring and checkpoints.
    eval_steps: int | None = setting(
        None, "steps between validations; if not given an epoch, or several of 100 steps in all", COUNT
    )
    early_stopping_patience: int | None = setting(None, "stop after so many validations without a better −ELBO", COUNT)
    logging_steps: int = setting(20, "steps between updates of the progress bar and the trackers", COUNT)
    monitor_steps: int | None = setting(100, "steps between checks for posterior collapse", COUNT)
    save_steps: int = setting(500, "steps between checkpoints", COUNT)
    save_total_limit: int = setting(2, "number of checkpoints to keep", COUNT)
    resume_from_checkpoint: str | None = setting(None, "directory of a checkpoint, or latest")
    report_to: list[str] = setting([], "trackers of Accelerate: tensorboard, wandb, …")
    dataloader_num_workers: int = setting(0, "worker processes that prepare batches", NOT_NEGATIVE)

    # The report at the end.
    num_importance_samples: int = same_setting(EvaluationConfig, "num_importance_samples")
    num_importance_texts: int | None = same_setting(EvaluationConfig, "num_importance_texts", default=500)
    num_reconstructed_texts: int | None = same_setting(EvaluationConfig, "num_reconstructed_texts")
    num_prior_samples: int = same_setting(EvaluationConfig, "num_prior_samples")
    judge: str | None = same_setting(EvaluationConfig, "judge")
    judge_encoder: str | None = same_setting(EvaluationConfig, "judge_encoder")
    model_card_samples: bool = setting(True, "show reconstructions, samples, paths and paraphrases at the end")
    card_examples: bool = setting(False, "quote held-out texts of your own corpus in the model card")
    language: str | None = setting(None, "language of the texts, for the model card: en, de, …")
    license: str | None = setting(None, "licence of the model, for the model card: apache-2.0, cc-by-4.0, …")

    def __post_init__(self):
        check_settings(self)
        self.encoder, self.decoder = _completed(self.encoder, ENCODER), _completed(self.decoder, DECODER)
        check(self)
        # Each checks its own values.
        self.new_rate_controller()
        _ = self.kl_weight
        _ = self.input_noise

    @property
    def has_pretrained_parts(self) -> bool:
        return self.encoder_name_or_path is not None or self.decoder_name_or_path is not None

    @property
    def untrained_parts(self) -> list[str]:
        """The parts, `encoder` or `decoder`, whose own weights are frozen."""
        frozen = {"encoder": self.freeze_encoder, "decoder": self.freeze_decoder}
        return [part for part, is_frozen in frozen.items() if is_frozen or part in self.lora]

    def dtype_of(self, part: str) -> torch.dtype:
        """The dtype of the weights of `encoder` or `decoder`."""
        is_bf16 = part in self.untrained_parts and self.weights_dtype == "bfloat16"
        return torch.bfloat16 if is_bf16 else torch.float32

    def origin_of(self, part: str) -> str | None:
        """The name or path that `encoder` or `decoder` is opened from; None for a new one."""
        names = {"encoder": self.encoder_name_or_path, "decoder": self.decoder_name_or_path}
        return self.model_name_or_path or names[part]

    def new_rate_controller(self) -> RateController | None:
        """The controller of β, if `kl_target` asks for one."""
        if self.kl_target is None:
            return None
        return RateController(self.kl_controller, self.kl_target, self.beta, self.kl_controller_gain)

    @property
    def kl_weight(self) -> KLSchedule:
        """β as a function of the step."""
        return KLSchedule(
            kind=self.kl_schedule,
            beta=self.beta,
            warmup=self.kl_warmup,
            zero_phase=self.kl_zero_phase,
            num_cycles=self.kl_num_cycles,
            ramp=self.kl_ramp,
            start=self.kl_start,
        )

    @property
    def input_noise(self) -> InputNoise:
        noise = self.noise_drop, self.noise_mask, self.noise_substitute, self.noise_shuffle
        return InputNoise(*noise, typos=self.noise_typos, word_dropout=self.word_dropout)

    def evaluation(self) -> EvaluationConfig:
        """The options of the evaluation at the end."""
        return EvaluationConfig(
            num_importance_samples=self.num_importance_samples,
            num_importance_texts=self.num_importance_texts,
            num_reconstructed_texts=self.num_reconstructed_texts,
            num_prior_samples=self.num_prior_samples,
            judge=self.judge,
            judge_encoder=self.judge_encoder,
            batch_size=self.per_device_eval_batch_size,
            seed=self.seed,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TrainingConfig":
        """A config from names and values, each read as the type of its field: `1e-3` of a YAML file is a number."""
        return from_names(cls, values)

    @classmethod
    def from_yaml(cls, path: str | Path) -> "TrainingConfig":
        """A config from a YAML file of names and values."""
        return cls.from_dict(read_yaml(path))

    def save(self, path: str | Path) -> None:
        Path(path).write_text(yaml.safe_dump(asdict(self), sort_keys=False))


def _completed(values: dict, default: dict) -> dict:
    """The default with these values, if they are of its type; values of another type stand alone."""
    return default | values if values.get("model_type", default["model_type"]) == default["model_type"] else values
