"""TextVAEConfig: the configs of encoder and decoder, and the settings of the latent vector between them."""

import math
from dataclasses import field
from textwrap import shorten
from typing import cast

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from textvae.errors import InputError
from textvae.modeling.families import check_decoder, check_encoder, reads_ahead

POOLINGS = ("mean", "cls", "last", "max", "attention", "queries")


INJECTIONS = ("prefix", "embedding", "output")


def refuse_with_labels(config, names: tuple[str, ...]) -> None:
    """Raises InputError if one of these settings is used: they need the prior N(0, I)."""
    for name in names:
        if getattr(config, name):
            raise InputError(f"{name} needs the prior N(0, I), but each label has a prior of its own: leave one out.")


def _sub_config(value: dict | PreTrainedConfig | None, default: str) -> PreTrainedConfig:
    """A copy of a config: sharing the object with another model would silently reset its attention implementation."""
    values = value.to_dict() if isinstance(value, PreTrainedConfig) else dict(value or {"model_type": default})
    model_type = values.pop("model_type", None)
    try:
        return AutoConfig.for_model(str(model_type), **values)
    except (KeyError, ValueError) as error:
        reason = shorten(str(error), 200)
        raise InputError(
            f"No encoder or decoder can be built from {model_type!r} ({reason}): correct its config."
        ) from error


@strict
class TextVAEConfig(PreTrainedConfig):
    """Configuration of a [`TextVAEModel`].

    Args:
        encoder: config (or its dict, with `model_type`) of one of the families in `ENCODERS` or `DECODERS`.
        decoder: config (or its dict) of one of the causal language models in `DECODERS`.
        latent_size: Z, the number of dimensions of z.
        latent_injection: how z enters the decoder: `prefix` puts `latent_tokens` soft tokens before the text,
            `embedding` adds a linear map of z to every input embedding, `output` adds one to every state that the
            softmax reads (Skip-VAE, Dieng et al. 2019). They can be combined. `none` is the language-model baseline:
            the decoder alone, without an encoder, and q(z|x) is the prior.
        latent_tokens: P, the number of soft tokens with `prefix`.
        pooling: how the encoder's states become one vector: `mean`, `cls` (the first), `last`, `max` or `attention`.
            Use `last` for a causal language model; `cls` is refused there, since its first state has seen one token.
            With `queries` they become `pooling_queries` vectors, each of which gives its share of the dimensions of z:
            learned queries attend to the states (Lee et al. 2019, section 3.2).
        pooling_queries: the number of those queries; `latent_size` must be a multiple of it.
        min_logvar, max_logvar: bounds of log σ² of the posterior.
        committed_rate: δ of a δ-VAE (Razavi et al. 2019): σ is bounded so that the KL of every dimension is at least δ
            nats; 0 turns it off.
        mean_batch_norm: γ of a BN-VAE (Zhu et al. 2020): the posterior means of a batch are normalised to standard
            deviation γ in each dimension, so that E[KL] ≥ Z · γ² / 2; 0 turns it off.
        bag_of_words: whether a head predicts the bag of words of a text from z alone (kgCVAE, Zhao et al. 2017).
        tie_encoder_embeddings: whether encoder and decoder share their token embeddings, where these have one shape.
            Then a word is learnt once, and z is learnt sooner.
        position_waves: W, waves by which pooling `mean` and the injections `embedding` and `output` tell positions
            apart, so that z learns sooner which word stands where; with 0 they do not.
        initializer_range: standard deviation of the initial weights of the maps to the mean and from z. The default is
            large enough for z to be informative from the first step; with the usual 0.02 the decoder learns to ignore
            z.
        initial_logvar: log σ² of every posterior before training.
        bos_token_id: the token that the decoder starts from. It is never predicted.
        eos_token_id: the last token of a text. It is predicted and counted.
        label_names: the labels of a conditional VAE (Sohn et al. 2015), in the order of their ids. A learned vector of
            the label then enters prior, encoder and decoder. Empty, or two or more.
        trained_with_noise: whether the encoder read noisy texts in training, and the decoder wrote them clean.
        base: the base models of `encoder`, `decoder` or both: frozen weights that are not saved with the model. Each
            entry holds `name_or_path`, the `sha256` of the weight files, the `dtype` and `quantization` to open them
            in, and `lora`: None, or the `rank`, `alpha` and `dropout` of the adapters trained on them.

    Raises:
        InputError: for a family that is not supported, a `latent_size` or `latent_tokens` below 1, a special token that
            is None or outside the decoder's vocabulary, a negative rate or γ, an unknown pooling or injection, the
            pooling `cls` with a causal encoder, a single or duplicate label, or labels together with a rate or γ, which
            need the prior N(0, I).
    """

    model_type = "textvae"
    sub_configs = {"encoder": AutoConfig, "decoder": AutoConfig}  # pyright: ignore[reportAssignmentType]
    has_no_defaults_at_init = False

    encoder: dict | PreTrainedConfig | None = None
    decoder: dict | PreTrainedConfig | None = None
    latent_size: int = 64
    latent_injection: list[str] | str = "prefix"
    latent_tokens: int = 1
    pooling: str = "mean"
    pooling_queries: int = 8
    min_logvar: float = -10.0
    max_logvar: float = 10.0
    committed_rate: float = 0.0
    mean_batch_norm: float = 0.0
    bag_of_words: bool = False
    tie_encoder_embeddings: bool = False
    position_waves: int = 0
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3
    initializer_range: float = 0.08
    initial_logvar: float = -1.0
    label_names: list[str] = field(default_factory=list)
    trained_with_noise: bool = False
    base: dict | None = None

    def __post_init__(self, **kwargs):
        self.encoder = _sub_config(self.encoder, "bert")
        self.decoder = _sub_config(self.decoder, "gru")
        if isinstance(self.latent_injection, str):
            self.latent_injection = [self.latent_injection]
        if self.latent_injection == ["none"]:
            self.latent_injection = []
        super().__post_init__(**kwargs)
        self._check()

    def _check(self):
        check_encoder(self.encoder_config)
        check_decoder(self.decoder_config)
        for name in ("latent_size", "latent_tokens", "pooling_queries"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, it must be at least 1.")
        for name in ("committed_rate", "mean_batch_norm", "position_waves"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}, it must be 0 or more.")
        if self.pooling not in POOLINGS:
            raise InputError(f"pooling is {self.pooling!r}, it must be one of {', '.join(POOLINGS)}.")
        if self.pooling == "queries" and self.latent_size % self.pooling_queries:
            raise InputError(
                f"Each of {self.pooling_queries} pooling_queries gives as many dimensions of z, and latent_size is "
                f"{self.latent_size}: give a multiple."
            )
        if self.pooling == "cls" and not reads_ahead(self.encoder_config):
            raise InputError(
                f"pooling is 'cls', but the first state of a causal {self.encoder_config.model_type!r} encoder has "
                "seen one token only: use 'last'."
            )
        self._check_special_tokens()
        injection = self.latent_injection
        if set(injection) - set(INJECTIONS):
            raise InputError(
                f"latent_injection is {injection}, it must be one or more of {', '.join(INJECTIONS)}, or none."
            )
        self._check_labels()
        self._check_base()

    def _check_special_tokens(self):
        size = self.decoder_config.vocab_size
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            value = getattr(self, name)
            ids = value if isinstance(value, list) else [value]
            if not ids or not all(token is not None and 0 <= token < size for token in ids):
                raise InputError(f"{name} is {value}, it must be one of the {size} token ids of the decoder.")

    def _check_base(self):
        needed = {"name_or_path": str, "sha256": str, "dtype": str, "quantization": str, "lora": dict | None}
        for part, entry in (self.base or {}).items():
            known = entry if part in ("encoder", "decoder") and isinstance(entry, dict) else {}
            if not all(name in known and isinstance(known[name], kind) for name, kind in needed.items()):
                raise InputError(f"base has a wrong entry {part!r}: give {', '.join(needed)} of encoder or decoder.")

    def _check_labels(self):
        names = self.label_names
        if len(names) == 1 or len({*names}) < len(names):
            raise InputError(f"label_names is {names}, it must be empty or hold two or more different names.")
        if names:
            refuse_with_labels(self, ("committed_rate", "mean_batch_norm"))

    @property
    def encoder_config(self) -> PreTrainedConfig:
        """`encoder`, which after construction is always a config."""
        return cast(PreTrainedConfig, self.encoder)

    @property
    def decoder_config(self) -> PreTrainedConfig:
        """`decoder`, which after construction is always a config."""
        return cast(PreTrainedConfig, self.decoder)

    @property
    def is_language_model(self) -> bool:
        """Whether the decoder gets no z: the KL is 0, and log p(x|z) = log p(x) for every z."""
        return not self.latent_injection

    @property
    def frozen_parts(self) -> list[str]:
        """The parts (`encoder`, `decoder`) without trainable parameters."""
        return [part for part, entry in (self.base or {}).items() if entry["lora"] is None]

    @property
    def prefix_length(self) -> int:
        """The number of soft tokens before the text: `latent_tokens` with `prefix`, else 0."""
        return self.latent_tokens if "prefix" in self.latent_injection else 0
