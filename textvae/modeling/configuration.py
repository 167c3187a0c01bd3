"""TextVAEConfig: two sub-configs and what joins them, the latent vector."""

import math
from dataclasses import field
from textwrap import shorten

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig

from textvae.errors import InputError
from textvae.modeling.families import check_decoder, check_encoder, reads_ahead

POOLINGS = ("mean", "cls", "last", "max", "attention")


INJECTIONS = ("prefix", "embedding", "output")


def refuse_with_labels(config, names: tuple[str, ...]) -> None:
    """Raises InputError if one of these settings is used, which hold for the prior N(0, I) only."""
    for name in names:
        if getattr(config, name):
            raise InputError(f"{name} is made for the prior N(0, I), and labels have their own: leave one out.")


def _sub_config(value: dict | PreTrainedConfig | None, default: str) -> PreTrainedConfig:
    """A config object of its own: sharing one with another model would silently reset its attention implementation."""
    values = value.to_dict() if isinstance(value, PreTrainedConfig) else dict(value or {"model_type": default})
    model_type = values.pop("model_type", None)
    try:
        return AutoConfig.for_model(model_type, **values)
    except (KeyError, ValueError) as error:
        reason = shorten(str(error), 200)
        raise InputError(f"{model_type!r} cannot be built as an encoder or decoder here ({reason}).") from error


@strict
class TextVAEConfig(PreTrainedConfig):
    """Configuration of a [`TextVAEModel`].

    Args:
        encoder: config (or its dict, with `model_type`) of one of the families in `ENCODERS` or `DECODERS`.
        decoder: config (or its dict) of one of the causal language models in `DECODERS`.
        latent_size: Z, the number of dimensions of z.
        latent_injection: how the decoder is told about z: `prefix` puts `latent_tokens` soft tokens in front,
            `embedding` adds a linear map of z to every input embedding, `output` one to every state that the softmax
            over the words reads (Skip-VAE, Dieng et al. 2019); any of them together. `none` is the language model that
            a VAE is compared with: the decoder alone, without encoder, its q(z|x) the prior.
        latent_tokens: P, the soft tokens that z becomes under `prefix`.
        pooling: how the encoder's states become one vector: `mean`, `cls` (the first), `last`, `max` or `attention`.
            `last` is the natural one for a causal language model; `cls`, which there sees nothing, is refused.
        min_logvar, max_logvar: bounds of log σ² of the posterior.
        committed_rate: δ of a δ-VAE (Razavi et al. 2019): σ is kept so small that every dimension has a KL of at least
            so many nats; 0 for none.
        mean_batch_norm: γ of a BN-VAE (Zhu et al. 2020): the means of a batch are normalised to this standard deviation
            in each dimension, so that E[KL] ≥ Z · γ² / 2; 0 for none.
        bag_of_words: whether a head predicts the words of a text, in no order, from z alone (kgCVAE, Zhao et al. 2017).
        initializer_range: standard deviation of the initial weights of the maps to the mean and from z. Large enough
            for z to say something from the first step; at the usual 0.02 the decoder learns to do without it.
        initial_logvar: log σ² of every posterior before training.
        bos_token_id: what the decoder starts from. It is never predicted.
        eos_token_id: ends a text. It is predicted and counted.
        label_names: of a conditional VAE (Sohn et al. 2015): what a text can be labelled with, a label's id being its
            place here. A learned vector of the label then enters prior, encoder and decoder. None, or two or more.
        base: of `encoder`, `decoder`, or both: where the weights come from that were not trained and are not saved with
            the model. For each `name_or_path`, `sha256` of the files there, the `dtype` and `quantization` they are
            opened in, and `lora`: None, or the `rank`, `alpha` and `dropout` of the adapters that were trained on them.

    Raises:
        InputError: for a family that is not supported, a `latent_size` or `latent_tokens` below 1, a negative rate or
            γ, an unknown pooling or injection, the pooling `cls` of a causal encoder, a single label or one named
            twice, or labels together with a rate or γ, which hold for the prior N(0, I) only.
    """

    model_type = "textvae"
    sub_configs = {"encoder": AutoConfig, "decoder": AutoConfig}
    has_no_defaults_at_init = False

    encoder: dict | PreTrainedConfig | None = None
    decoder: dict | PreTrainedConfig | None = None
    latent_size: int = 64
    latent_injection: list[str] | str = "prefix"
    latent_tokens: int = 1
    pooling: str = "mean"
    min_logvar: float = -10.0
    max_logvar: float = 10.0
    committed_rate: float = 0.0
    mean_batch_norm: float = 0.0
    bag_of_words: bool = False
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3
    initializer_range: float = 0.08
    initial_logvar: float = -1.0
    label_names: list[str] = field(default_factory=list)
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
        check_encoder(self.encoder)
        check_decoder(self.decoder)
        for name in ("latent_size", "latent_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, it must be at least 1.")
        for name in ("committed_rate", "mean_batch_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}, it must be 0 or more.")
        if self.pooling not in POOLINGS:
            raise InputError(f"pooling is {self.pooling!r}, it must be one of {', '.join(POOLINGS)}.")
        if self.pooling == "cls" and not reads_ahead(self.encoder):
            raise InputError(
                f"pooling is 'cls', and the first state of a causal {self.encoder.model_type!r} encoder has seen one "
                "token only: take 'last'."
            )
        injection = self.latent_injection
        if set(injection) - set(INJECTIONS):
            raise InputError(
                f"latent_injection is {injection}, it must name some of {', '.join(INJECTIONS)}, or be none."
            )
        self._check_labels()

    def _check_labels(self):
        names = self.label_names
        if len(names) == 1 or len({*names}) < len(names):
            raise InputError(f"label_names is {names}, it must be empty, or two or more different names.")
        if names:
            refuse_with_labels(self, ("committed_rate", "mean_batch_norm"))

    @property
    def is_language_model(self) -> bool:
        """Whether the decoder is told nothing of z: KL 0, and log p(x|z) = log p(x) for every z."""
        return not self.latent_injection

    @property
    def frozen_parts(self) -> list[str]:
        """Of `encoder` and `decoder`, those that nothing is trained of."""
        return [part for part, entry in (self.base or {}).items() if entry["lora"] is None]

    @property
    def prefix_length(self) -> int:
        """How many soft tokens stand before the text: `latent_tokens` under `prefix`, else 0."""
        return self.latent_tokens if "prefix" in self.latent_injection else 0
