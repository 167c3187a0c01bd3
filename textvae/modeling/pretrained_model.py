"""What a text VAE is as a model of transformers: two parts and what joins them; built, opened, saved and cast."""

from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init

from textvae.errors import InputError
from textvae.files import whole_files
from textvae.modeling.adapters import LORA_MARK
from textvae.modeling.bag_of_words import BagOfWords
from textvae.modeling.base_weights import check_apart
from textvae.modeling.compat import keep_weights
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.families import encoder_class, logits_change, output_layer, states_size, token_embeddings
from textvae.modeling.injection import Injection
from textvae.modeling.label_vectors import LabelVectors
from textvae.modeling.old_names import OLD_NAMES, rename_old
from textvae.modeling.posterior import Posterior, QueryPooling
from textvae.modeling.pretrained import cast_weights, load_decoder, load_encoder, set_frozen_mode
from textvae.modeling.tied import tied_names
from textvae.modeling.weight_files import add_checksums, check_checksums, weight_files, weight_patterns

SPECIAL_IDS = ("pad_token_id", "bos_token_id", "eos_token_id")
_ON_THE_HUB = ("cache_dir", "revision", "subfolder", "variant")
_OF_A_PUSH = ("repo_id", "commit_message", "private", "token", "create_pr", "revision")

M = TypeVar("M", bound="TextVAEPreTrainedModel")


def _new_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    return encoder_class(config).from_config(config, trust_remote_code=False)


def _new_decoder(config: PreTrainedConfig) -> PreTrainedModel:
    return AutoModelForCausalLM.from_config(config, trust_remote_code=False)


def _special_ids(name: str, decoder: PreTrainedConfig, given: dict) -> dict:
    """The special tokens of a pretrained decoder, where none are given."""
    named = {token: given.get(token, getattr(decoder, token)) for token in SPECIAL_IDS}
    ends = named["eos_token_id"]
    first_end = ends[0] if isinstance(ends, list) and ends else ends
    if first_end is None:
        raise InputError(
            f"The config of the decoder {name!r} names no EOS, the end of a text: give eos_token_id, which its "
            "tokenizer knows."
        )
    return {token: first_end if value is None else value for token, value in named.items()}


class TextVAEPreTrainedModel(PreTrainedModel):
    """An encoder and a causal language model, joined by a bottleneck.

    The bottleneck is everything that is neither encoder nor decoder: posterior, injection, bag-of-words head and label
    vectors.
    """

    config: TextVAEConfig
    encoder: PreTrainedModel | None
    decoder: PreTrainedModel
    posterior: Posterior | None
    label_vectors: LabelVectors | None

    config_class = TextVAEConfig
    base_model_prefix = "textvae"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _keep_in_fp32_modules_strict = ["mean_norm"]  # it reads means in fp32, and its variances may be tiny

    def __init__(
        self, config: TextVAEConfig, encoder: PreTrainedModel | None = None, decoder: PreTrainedModel | None = None
    ):
        """`encoder` and `decoder`, if given, are used as they are instead of being built from the config."""
        super().__init__(config)
        given = {"encoder": encoder, "decoder": decoder}
        if any(given[part] is None for part in config.base or {}):
            raise InputError(
                "This model is saved without its base model: open it with TextVAEPipeline.from_pretrained, which finds "
                "the weights."
            )
        for part in given.values():
            if part is not None:
                keep_weights(part)
        # Built in this order, in which the random numbers of their weights are drawn.
        self.encoder = None if config.is_language_model else encoder or _new_encoder(config.encoder_config)
        self.decoder = _new_decoder(config.decoder_config) if decoder is None else decoder
        self.logit_scale, self.logit_softcap = logits_change(config.decoder_config)
        self.posterior = states = None
        if self.encoder is not None:
            # Never used here, and an unused parameter stops distributed training.
            self.encoder.pooler = None  # pyright: ignore[reportArgumentType]
            states = states_size(self.encoder)
            self.posterior = Posterior(config, states)
        embedding_size = token_embeddings(self.decoder).embedding_dim
        self.injection = Injection(config, embedding_size, self.get_output_embeddings().weight.shape[1])
        self.to_bag_of_words = BagOfWords(config, embedding_size) if config.bag_of_words else None
        self.label_vectors = LabelVectors(config, embedding_size, states) if config.label_names else None
        self._tie()
        self.register_load_state_dict_pre_hook(rename_old)
        self.post_init()

    def _tie(self) -> None:
        """Note in config and model whether encoder and decoder share their embeddings; `post_init` sees to it."""
        names = {}
        if self.config.tie_encoder_embeddings and self.encoder is not None:
            names = tied_names(self.encoder, self.decoder)
        self._tied_weights_keys = names
        self.config.tie_encoder_embeddings = bool(names)
        if names:
            self.config.tie_word_embeddings = True  # or transformers ties nothing of this model

    @classmethod
    def from_encoder_decoder(
        cls: type[M], encoder: str, decoder: str, dtype: str | torch.dtype = torch.float32, **config
    ) -> M:
        """Join two pretrained parts, by name or path, by a new bottleneck; in evaluation mode.

        Padding, BOS and EOS are those of the decoder's config. Without a BOS texts start with EOS, without a padding
        token they are padded with EOS.

        Args:
            encoder: a checkpoint of one of the families in `ENCODERS` or `DECODERS`.
            decoder: a checkpoint of one of the families in `DECODERS`.
            dtype: of all weights except those of a `mean_batch_norm`, which stay in fp32.
            config: arguments of [`TextVAEConfig`].

        Raises:
            InputError: if a part cannot be opened with exactly its weights, its family is not supported, or neither the
                decoder's config nor `config` names an EOS.
        """
        parts = load_encoder(encoder, dtype), load_decoder(decoder, dtype)
        return cls.from_parts(*parts, **_special_ids(decoder, parts[1].config, config) | config).cast(parts[1].dtype)

    @classmethod
    def from_parts(
        cls: type[M],
        encoder: PreTrainedModel | PreTrainedConfig,
        decoder: PreTrainedModel | PreTrainedConfig,
        **config,
    ) -> M:
        """Join an encoder and a decoder, as they are, by a new bottleneck in fp32; in evaluation mode.

        Args:
            encoder, decoder: models, or the configs of new ones.
            config: arguments of [`TextVAEConfig`] except the configs of the two.

        Raises:
            InputError: if the family of one is not supported, or the config cannot be used.
        """
        parts = {"encoder": encoder, "decoder": decoder}
        models = {name: part for name, part in parts.items() if isinstance(part, PreTrainedModel)}
        configs = {name: part.config if isinstance(part, PreTrainedModel) else part for name, part in parts.items()}
        decoder_config = configs["decoder"].to_dict()
        # It says how the weights are held in this process, and not what they are.
        decoder_config.pop("quantization_config", None)
        return cls(TextVAEConfig(**configs | {"decoder": decoder_config}, **config), **models).eval()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *args, **options):
        """As in every model of transformers; files of older versions open, too.

        Raises:
            InputError: if a weight file is not as it was saved.
        """
        options = {"key_mapping": OLD_NAMES, "trust_remote_code": False, **options}
        opened = super().from_pretrained(pretrained_model_name_or_path, *args, **options)
        if pretrained_model_name_or_path is not None and options.get("state_dict") is None:
            where = {name: options[name] for name in _ON_THE_HUB if options.get(name) is not None}
            name = str(pretrained_model_name_or_path)
            check_checksums(name, weight_files(name, **where, local_files_only=True))  # now they are here
        return opened

    def save_pretrained(self, save_directory, push_to_hub: bool = False, **options) -> None:
        """As in every model of transformers, but frozen weights of the base model are left out.

        Each weight file keeps a checksum. The files replace those of a model that was there, when all are written.

        Raises:
            InputError: if the base model is in that directory, or it is a file.
            OSError: if the directory cannot be written; then it is as it was.
        """
        if self.config.base is not None:
            check_apart(self.config.base, save_directory)
            options["state_dict"] = {name: t for name, t in self.state_dict().items() if not self.is_of_base(name)}
        # Under the names of today, also if the model was opened from a file with older ones.
        options["save_original_format"] = False
        hub = {name: options.pop(name) for name in _OF_A_PUSH if name in options}
        if not options.get("is_main_process", True):
            return super().save_pretrained(save_directory, **options)
        with whole_files(save_directory, instead_of=weight_patterns(options.get("variant"))) as place:
            super().save_pretrained(place, **options)
            add_checksums(place)
        if push_to_hub:
            self.push_to_hub(**{"repo_id": Path(save_directory).resolve().name, **hub})

    def is_of_base(self, name: str) -> bool:
        """Whether an entry of the state dictionary belongs to the base model: it is neither trained nor saved."""
        return name.partition(".")[0] in (self.config.base or {}) and LORA_MARK not in name

    def cast(self: M, dtype: torch.dtype) -> M:
        """Cast all weights to this dtype, except those of a `mean_batch_norm`, which stay in fp32."""
        cast_weights(self, dtype)
        if self.posterior is not None and self.posterior.mean_norm is not None:
            self.posterior.mean_norm.float()
        return self

    def train(self: M, mode: bool = True) -> M:
        """Set training or evaluation mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for name in self.config.frozen_parts:
            set_frozen_mode(self.get_submodule(name), mode)
        return self

    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if self.posterior is not None and module is self.posterior.to_logvar:
            init.zeros_(self.posterior.to_logvar.weight)
            init.constant_(self.posterior.to_logvar.bias, self.config.initial_logvar)
        if isinstance(module, QueryPooling):
            init.normal_(module.queries)  # far enough apart to attend to different positions
        if self.label_vectors is not None and module is self.label_vectors.to_prior:
            init.zeros_(cast(nn.Embedding, module).weight)

    def part(self, name: str) -> PreTrainedModel:
        """The `encoder` or `decoder`, by its name."""
        return cast(PreTrainedModel, self.get_submodule(name))

    def decoding_modules(self) -> dict[str, nn.Module]:
        """All modules that write texts, by name: the decoder, the maps of z, the prior and the decoder's labels."""
        names = ("decoder", "injection", "to_bag_of_words", "label_vectors.to_prior", "label_vectors.to_embedding")
        return {name: module for name, module in self.named_modules() if name in names}

    def get_input_embeddings(self) -> nn.Embedding:
        return token_embeddings(self.encoder or self.decoder)

    def get_output_embeddings(self) -> nn.Linear:
        return cast(nn.Linear, output_layer(self.decoder))
