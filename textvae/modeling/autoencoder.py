"""TextVAEModel: text → posterior → z → text. Tensors in, tensors out.

B batch · S encoder length · T decoder length · Z latent_size · P prefix length · H, E hidden sizes · V vocabulary

Of a model with `label_names` everything takes the texts' `label_ids` (B,), and every p and q is given the label, too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from transformers import AutoModelForCausalLM, Cache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils import ModelOutput

from textvae.data.special_tokens import IGNORED
from textvae.errors import InputError
from textvae.modeling.adapters import LORA_MARK
from textvae.modeling.base_weights import check_apart
from textvae.modeling.compat import CACHE_NAME
from textvae.modeling.configuration import TextVAEConfig
from textvae.modeling.cross_entropy import linear_cross_entropy, transform_logits
from textvae.modeling.families import encoder_class, logits_change, states_size
from textvae.modeling.posterior import MeanBatchNorm, Pooling
from textvae.modeling.pretrained import cast_weights, load_decoder, load_encoder, set_frozen_mode
from textvae.objectives.terms import logvar_of_rate, normal_kl, reparameterize


@dataclass
class TextVAEOutput(ModelOutput):
    """What one pass over a batch of texts gives; every term in nats.

    Args:
        loss: (), the negative ELBO of a text, averaged over the batch. Never tempered.
        reconstruction: (B,), -log p(x|z), summed over the tokens of a text, EOS included.
        kl: (B, Z), KL(q(z|x) || p(z)) of each dimension; with labels that of q(z|x, c) from p(z|c).
        latents: (B, Z), the z that was decoded.
        mean, logvar: (B, Z), of q(z|x).
        bag_of_words: (B,), -log p of a text's words, in no order, given z; with the head for it only.
    """

    loss: Tensor | None = None
    reconstruction: Tensor | None = None
    kl: Tensor | None = None
    latents: Tensor | None = None
    mean: Tensor | None = None
    logvar: Tensor | None = None
    bag_of_words: Tensor | None = None


def shift_right(labels: Tensor, bos_token_id: int, pad_token_id: int) -> Tensor:
    """Decoder inputs for `labels` (B, T): BOS, then every token but the last; ignored positions become padding."""
    shifted = nn.functional.pad(labels, (1, -1), value=bos_token_id)
    return shifted.masked_fill(shifted == IGNORED, pad_token_id)


def _mapped(layer: nn.Linear, latents: Tensor, dtype: torch.dtype) -> Tensor:
    """What a map makes of z for a decoder that, being frozen, may be in another dtype."""
    return layer(latents.to(layer.weight.dtype)).to(dtype)


def _new_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    return encoder_class(config).from_config(config)


class TextVAEModel(PreTrainedModel, GenerationMixin):
    """A text VAE: a transformer as encoder, a causal language model as decoder (Bowman et al. 2016).

    x → encoder → pooling → q(z|x) = N(mean, diag(exp(logvar))) → z → decoder → log p(x|z).

    With `label_names` it is a conditional one (Sohn et al. 2015; of text kgCVAE, Zhao et al. 2017). Of the label's
    three learned vectors the first is added to what the encoder has pooled, the second is mean and log-variance of the
    prior p(z|c), N(0, I) before training, and the third is added to every input embedding of the decoder, soft tokens
    included. A language model has the third only.
    """

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
        """`encoder` and `decoder`, when given, are used as they are instead of being built from the config."""
        super().__init__(config)
        given = {"encoder": encoder, "decoder": decoder}
        if any(given[part] is None for part in config.base or {}):
            raise InputError("This model is saved without the weights it was trained on top of: open it with "
                             "TextVAEPipeline.from_pretrained, which finds them.")  # fmt: skip
        self.encoder = None if config.is_language_model else encoder or _new_encoder(config.encoder)
        self.decoder = AutoModelForCausalLM.from_config(config.decoder) if decoder is None else decoder
        self.logit_scale, self.logit_softcap = logits_change(config.decoder)
        self.pooling = self.to_mean = self.to_logvar = self.mean_norm = None
        if self.encoder is not None:
            self._add_posterior(config)
        embedding_size = self.decoder.get_input_embeddings().embedding_dim
        in_embedding, prefix_size = "embedding" in config.latent_injection, config.prefix_length * embedding_size
        self.to_embedding = nn.Linear(config.latent_size, embedding_size) if in_embedding else None
        self.to_prefix = nn.Linear(config.latent_size, prefix_size) if prefix_size else None
        states_width = self.decoder.get_output_embeddings().weight.shape[1]
        in_output = "output" in config.latent_injection
        self.to_output = nn.Linear(config.latent_size, states_width) if in_output else None
        self.to_bag_of_words = None
        if config.bag_of_words:
            sizes = config.latent_size, embedding_size, config.decoder.vocab_size
            self.to_bag_of_words = nn.Sequential(nn.Linear(*sizes[:2]), nn.Tanh(), nn.Linear(*sizes[1:]))
        num_labels = len(config.label_names)
        self.label_to_pooled = self.label_to_prior = self.label_to_embedding = None
        if num_labels:
            self.label_to_embedding = nn.Embedding(num_labels, embedding_size)
        if num_labels and self.encoder is not None:
            self.label_to_pooled = nn.Embedding(num_labels, states_size(self.encoder))
            self.label_to_prior = nn.Embedding(num_labels, 2 * config.latent_size)
        self.post_init()

    def _add_posterior(self, config: TextVAEConfig) -> None:
        self.encoder.pooler = None  # never used here, and an unused parameter stops distributed training
        encoder_size = states_size(self.encoder)
        self.pooling = Pooling(config.pooling, encoder_size)
        self.to_mean = nn.Linear(encoder_size, config.latent_size)
        self.to_logvar = nn.Linear(encoder_size, config.latent_size)
        if config.mean_batch_norm:
            self.mean_norm = MeanBatchNorm(config.latent_size, config.mean_batch_norm)
        self.logvar_limit = logvar_of_rate(config.committed_rate) if config.committed_rate else None
        if self.logvar_limit is not None and self.logvar_limit <= config.min_logvar:
            raise InputError(
                f"A committed_rate of {config.committed_rate:g} nats per dimension needs log σ² below "
                f"{self.logvar_limit:.1f}, and min_logvar is {config.min_logvar:g}: give a lower rate."
            )

    @classmethod
    def from_encoder_decoder(
        cls, encoder: str, decoder: str, dtype: str | torch.dtype = torch.float32, **config
    ) -> "TextVAEModel":
        """Two pretrained parts, by name or path, joined by a new bottleneck, in evaluation mode.

        Padding, BOS and EOS are the decoder's where it has them.

        Args:
            encoder: a checkpoint of one of the families in `ENCODERS` or `DECODERS`.
            decoder: a checkpoint of one of the families in `DECODERS`.
            dtype: of all weights but those of a `mean_batch_norm`, which stay in fp32.
            config: what [`TextVAEConfig`] takes.

        Raises:
            InputError: if a part cannot be opened with exactly its weights, or is of no supported family.
        """
        parts = load_encoder(encoder, dtype), load_decoder(decoder, dtype)
        special = {name: getattr(parts[1].config, name) for name in ("pad_token_id", "bos_token_id", "eos_token_id")}
        special = {name: token for name, token in special.items() if token is not None}
        return cls.from_parts(*parts, **special | config).cast(parts[1].dtype)

    @classmethod
    def from_parts(
        cls, encoder: PreTrainedModel | PreTrainedConfig, decoder: PreTrainedModel | PreTrainedConfig, **config
    ) -> "TextVAEModel":
        """An encoder and a decoder, as they are, joined by a new bottleneck in fp32; in evaluation mode.

        Args:
            encoder, decoder: models, or the configs of new ones.
            config: what [`TextVAEConfig`] takes beside the configs of the two.

        Raises:
            InputError: if one of them is of no supported family, or the config cannot be.
        """
        parts = {"encoder": encoder, "decoder": decoder}
        models = {name: part for name, part in parts.items() if isinstance(part, PreTrainedModel)}
        configs = {name: part.config if name in models else part for name, part in parts.items()}
        decoder_config = configs["decoder"].to_dict()
        decoder_config.pop("quantization_config", None)  # says how the weights are held here, not what they are
        return cls(TextVAEConfig(**configs | {"decoder": decoder_config}, **config), **models).eval()

    def cast(self, dtype: torch.dtype) -> "TextVAEModel":
        """All weights become of this dtype, but those of a `mean_batch_norm`, which stay in fp32."""
        cast_weights(self, dtype)
        if self.mean_norm is not None:
            self.mean_norm.float()
        return self

    def train(self, mode: bool = True) -> "TextVAEModel":
        """Training mode, or evaluation mode; frozen parts stay in the latter."""
        super().train(mode)
        for name in self.config.frozen_parts:
            set_frozen_mode(self.get_submodule(name), mode)
        return self

    def is_of_base(self, name: str) -> bool:
        """Whether this entry of the state dictionary comes from the base, and is neither trained nor saved."""
        return name.partition(".")[0] in (self.config.base or {}) and LORA_MARK not in name

    def save_pretrained(self, save_directory, **options) -> None:
        """As in every model of transformers, but what is still as in the base is left out.

        Raises:
            InputError: if the base is in that directory.
        """
        if self.config.base is not None:
            check_apart(self.config.base, save_directory)
            options["state_dict"] = {name: t for name, t in self.state_dict().items() if not self.is_of_base(name)}
        super().save_pretrained(save_directory, **options)

    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if self.to_logvar is not None and module is self.to_logvar:
            init.zeros_(module.weight)
            init.constant_(module.bias, self.config.initial_logvar)
        if self.label_to_prior is not None and module is self.label_to_prior:
            init.zeros_(module.weight)

    def decoding_modules(self) -> dict[str, nn.Module]:
        """By name, what generates: the decoder, the maps of z that it is given, and the prior of a label."""
        maps = ("to_embedding", "to_prefix", "to_output", "to_bag_of_words")
        names = ("decoder", *maps, "label_to_prior", "label_to_embedding")
        return {name: module for name, module in self.named_children() if name in names}

    def get_input_embeddings(self) -> nn.Module:
        return (self.encoder or self.decoder).get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        return self.decoder.get_output_embeddings()

    # c → z

    def _check_labels(self, label_ids: Tensor | None, num_texts: int) -> None:
        names = self.config.label_names
        if not names and label_ids is not None:
            raise InputError("This model has no labels: leave label_ids out.")
        if names and label_ids is None:
            raise InputError(f"This model has {len(names)} labels: give label_ids, the number of each text's label.")
        if names and label_ids.shape != (num_texts,):
            raise InputError(f"label_ids must be ({num_texts},), one for each text, not {tuple(label_ids.shape)}.")

    def prior_parameters(self, label_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, within the posterior's bounds, of p(z|c), in fp32.

        Args:
            label_ids: (B,), of a model with labels.

        Returns:
            Two times (B, Z); of a model without labels two times (1, Z), of zeros: N(0, I).

        Raises:
            InputError: if `label_ids` are missing, or given to a model without labels.
        """
        self._check_labels(label_ids, 0 if label_ids is None else len(label_ids))
        if self.label_to_prior is None:
            prior = torch.zeros(1, self.config.latent_size, device=self.device)
            return prior, prior
        mean, logvar = self.label_to_prior(label_ids).float().chunk(2, dim=-1)
        return mean, logvar.clamp(self.config.min_logvar, self.config.max_logvar)

    # text → z

    def posterior_parameters(
        self, input_ids: Tensor, attention_mask: Tensor, label_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, within its bounds, of q(z|x) for texts (B, S): two times (B, Z), in fp32.

        Raises:
            InputError: if `label_ids` are missing, or given to a model without labels.
        """
        self._check_labels(label_ids, len(input_ids))
        if self.encoder is None:
            prior = torch.zeros(len(input_ids), self.config.latent_size, device=input_ids.device)
            return prior, prior
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, S, H)
        if self.encoder.dtype != self.to_mean.weight.dtype:  # a frozen encoder may be in bf16
            states = states.to(self.to_mean.weight.dtype)
        pooled = self.pooling(states, attention_mask)  # (B, H)
        if self.label_to_pooled is not None:
            pooled = pooled + self.label_to_pooled(label_ids).to(pooled.dtype)
        mean, logvar = self.to_mean(pooled).float(), self.to_logvar(pooled).float()
        if self.mean_norm is not None:
            mean = self.mean_norm(mean)
        if self.logvar_limit is not None:  # approached smoothly: a clamp would have no gradient to come back by
            logvar = self.logvar_limit - nn.functional.softplus(self.logvar_limit - logvar)
        return mean, logvar.clamp(self.config.min_logvar, self.config.max_logvar)

    def encode(self, input_ids: Tensor, attention_mask: Tensor, label_ids: Tensor | None = None) -> Normal:
        """q(z|x) of texts (B, S), with batch shape (B, Z).

        Raises:
            InputError: if `label_ids` are missing, or given to a model without labels.
        """
        mean, logvar = self.posterior_parameters(input_ids, attention_mask, label_ids)
        return Normal(mean, (logvar / 2).exp())

    # z → text

    def _check_latents(self, latents: Tensor) -> None:
        if latents.dim() != 2 or latents.shape[1] != self.config.latent_size:
            raise InputError(f"latents must be (texts, {self.config.latent_size}), not {tuple(latents.shape)}.")

    def _inputs_embeds(
        self, latents: Tensor, decoder_input_ids: Tensor, label_ids: Tensor | None = None, *, first: bool
    ) -> Tensor:
        """(B, Z), (B, T), (B,) → (B, P + T, E), or (B, T, E) once the cache already holds the prefix."""
        self._check_labels(label_ids, len(decoder_input_ids))
        embeds = self.decoder.get_input_embeddings()(decoder_input_ids)  # (B, T, E)
        if self.to_prefix is not None and first:
            prefix = _mapped(self.to_prefix, latents, embeds.dtype)  # (B, P · E)
            embeds = torch.cat([prefix.view(len(latents), -1, embeds.shape[-1]), embeds], dim=1)
        if self.to_embedding is not None:
            embeds = embeds + _mapped(self.to_embedding, latents, embeds.dtype).unsqueeze(1)
        if self.label_to_embedding is not None:
            embeds = embeds + self.label_to_embedding(label_ids).unsqueeze(1).to(embeds.dtype)
        return embeds

    def _lengthened(self, attention_mask: Tensor | None) -> Tensor | None:
        """The mask (B, T) with ones for the prefix in front: (B, P + T)."""
        if attention_mask is None or self.to_prefix is None:
            return attention_mask
        return nn.functional.pad(attention_mask, (self.config.prefix_length, 0), value=1)

    def _decoded(
        self,
        latents: Tensor,
        decoder_input_ids: Tensor,
        attention_mask: Tensor | None,
        label_ids: Tensor | None,
        cache: Cache | None = None,
        use_cache: bool | None = False,
    ) -> ModelOutput:
        """The decoder's cache and last hidden states: (B, P + T, H), or (B, T, H) of a cache that holds the prefix."""
        first = cache is None or cache.get_seq_length() == 0
        output = self.decoder.base_model(
            inputs_embeds=self._inputs_embeds(latents, decoder_input_ids, label_ids, first=first),
            attention_mask=self._lengthened(attention_mask),
            use_cache=use_cache,
            **{CACHE_NAME: cache},
        )
        if self.to_output is not None:
            states = output.last_hidden_state
            output.last_hidden_state = states + _mapped(self.to_output, latents, states.dtype).unsqueeze(1)
        return output

    def _decoder_states(
        self, latents: Tensor, decoder_input_ids: Tensor, attention_mask: Tensor | None, label_ids: Tensor | None
    ) -> Tensor:
        """The decoder's last hidden states at the T text positions: (B, T, H)."""
        output = self._decoded(latents, decoder_input_ids, attention_mask, label_ids)
        return output.last_hidden_state[:, self.config.prefix_length :]

    def _logits(self, states: Tensor) -> Tensor:
        return transform_logits(self.get_output_embeddings()(states), self.logit_scale, self.logit_softcap)

    def decode(
        self,
        latents: Tensor,
        decoder_input_ids: Tensor,
        attention_mask: Tensor | None = None,
        label_ids: Tensor | None = None,
    ) -> Tensor:
        """Logits (B, T, V) of teacher-forced texts: position t predicts the token after `decoder_input_ids[:, t]`.

        Args:
            latents: (B, Z).
            decoder_input_ids: (B, T), BOS first.
            attention_mask: (B, T), 0 at padding on the right.
            label_ids: (B,), of a model with labels.

        Raises:
            InputError: if `latents` is not (B, Z), or `label_ids` are missing, or given to a model without labels.
        """
        self._check_latents(latents)
        return self._logits(self._decoder_states(latents, decoder_input_ids, attention_mask, label_ids))

    def reconstruction(
        self,
        latents: Tensor,
        labels: Tensor,
        decoder_input_ids: Tensor | None = None,
        label_ids: Tensor | None = None,
    ) -> Tensor:
        """-log p(x|z) of each text in nats, summed over its tokens, EOS included; the (B, T, V) logits are never held.

        Args:
            latents: (B, Z).
            labels: (B, T), the tokens to predict, -100 at padding.
            decoder_input_ids: (B, T), BOS first; `labels` shifted right when not given.
            label_ids: (B,), of a model with labels: not to be mixed up with the tokens.

        Returns:
            (B,) in fp32.

        Raises:
            InputError: if `label_ids` are missing, or given to a model without labels.
        """
        if decoder_input_ids is None:
            decoder_input_ids = shift_right(labels, self.config.bos_token_id, self.config.pad_token_id)
        predicted = labels != IGNORED  # (B, T)
        # No mask: what stands behind a text cannot change it, and unmasked causal attention is faster.
        states = self._decoder_states(latents, decoder_input_ids, None, label_ids)
        head = self.get_output_embeddings()
        token_nll = linear_cross_entropy(
            states[predicted], head.weight, head.bias, labels[predicted], self.logit_scale, self.logit_softcap
        )
        rows = predicted.nonzero()[:, 0]
        return token_nll.new_zeros(len(labels)).index_add(0, rows, token_nll)

    def bag_of_words(self, latents: Tensor, labels: Tensor) -> Tensor:
        """-Σ_t log softmax(W tanh(V z))[x_t] of each text, in nats (kgCVAE, Zhao et al. 2017, eq. 5).

        Args:
            latents: (B, Z).
            labels: (B, T), -100 at padding.

        Returns:
            (B,) in fp32.

        Raises:
            InputError: if the model has no head for it (`bag_of_words` of [`TextVAEConfig`]).
        """
        if self.to_bag_of_words is None:
            raise InputError("This model has no bag-of-words head: build it with bag_of_words=True.")
        log_probabilities = self.to_bag_of_words(latents).float().log_softmax(-1)  # (B, V)
        predicted = labels != IGNORED
        return -(log_probabilities.gather(1, labels.masked_fill(~predicted, 0)) * predicted).sum(1)

    # training and likelihood

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        decoder_input_ids: Tensor | None = None,
        latents: Tensor | None = None,
        noise: Tensor | None = None,
        label_ids: Tensor | None = None,
        cache: Cache | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        past_key_values: Cache | None = None,
    ) -> TextVAEOutput | CausalLMOutputWithPast:
        """One-sample negative ELBO of texts and its terms (Kingma & Welling 2014, eq. 7 with the KL in closed form).

        Without `input_ids` it is the step that [`generate`] repeats: next-token logits of `decoder_input_ids` given
        `latents`.

        Args:
            input_ids: (B, S), the texts to encode.
            attention_mask: (B, S), 0 at padding.
            labels: (B, T), the texts to decode, -100 at padding; `input_ids` when not given.
            decoder_input_ids: (B, T), BOS first; `labels` shifted right when not given.
            latents: (B, Z), decoded instead of a sample of the posterior.
            noise: (B, Z), the standard normal draw to use in z = mean + exp(logvar / 2) · noise.
            label_ids: (B,), of a model with labels.
            cache, use_cache: the decoder's cache, in the steps of [`generate`].
            return_dict: taken because transformers gives it; the output is never a tuple.
            past_key_values: what transformers called `cache` before 5.24.

        Returns:
            [`TextVAEOutput`], its `loss` in nats per text; without `input_ids` the decoder's own output, with logits
            (B, 1, V) of the next token.

        Raises:
            InputError: if `label_ids` are missing, or given to a model without labels.
        """
        if input_ids is None:
            past = past_key_values if cache is None else cache
            return self._next_token_logits(decoder_input_ids, attention_mask, latents, label_ids, past, use_cache)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if labels is None:
            labels = input_ids.masked_fill(attention_mask == 0, IGNORED)
        mean, logvar = self.posterior_parameters(input_ids, attention_mask, label_ids)
        if latents is None:
            noise = torch.randn_like(mean) if noise is None else noise
            latents = reparameterize(mean, logvar, noise)
        kl = normal_kl(mean, logvar, *self.prior_parameters(label_ids))
        reconstruction = self.reconstruction(latents, labels, decoder_input_ids, label_ids)
        loss = (reconstruction + kl.sum(-1)).mean()
        words = None if self.to_bag_of_words is None else self.bag_of_words(latents, labels)
        return TextVAEOutput(loss, reconstruction, kl, latents, mean, logvar, words)

    # writing

    def _next_token_logits(self, decoder_input_ids, attention_mask, latents, label_ids, cache, use_cache):
        output = self._decoded(latents, decoder_input_ids, attention_mask, label_ids, cache, use_cache)
        logits = self._logits(output.last_hidden_state[:, -1:])
        return CausalLMOutputWithPast(logits=logits, **{CACHE_NAME: getattr(output, CACHE_NAME)})

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs) -> dict:
        """What `generate` grows is the decoder's input here."""
        inputs = super().prepare_inputs_for_generation(input_ids, **kwargs)
        inputs["decoder_input_ids"] = inputs.pop("input_ids")
        return inputs

    @torch.no_grad()
    def generate(
        self,
        latents: Tensor,
        decoder_input_ids: Tensor | None = None,
        label_ids: Tensor | None = None,
        **generation_kwargs,
    ) -> Tensor:
        """Texts written from z, with every decoding control of Hugging Face's `generate`.

        Args:
            latents: (B, Z).
            decoder_input_ids: (B, T), how every text begins, BOS first; BOS alone when not given.
            label_ids: (B,), of a model with labels.
            generation_kwargs: `max_new_tokens`, `num_beams`, `do_sample`, `top_p`, `num_return_sequences`, …

        Returns:
            (B · num_return_sequences, T) token ids, BOS first, padded behind EOS.

        Raises:
            InputError: if `latents` is not (B, Z), or `label_ids` are missing, or given to a model without labels.
        """
        self._check_latents(latents)
        self._check_labels(label_ids, len(latents))
        if decoder_input_ids is None:
            decoder_input_ids = torch.full((len(latents), 1), self.config.bos_token_id, device=latents.device)
        # Left to itself `generate` takes a BOS that is the padding token, as GPT-2's, for padding.
        options = {"attention_mask": torch.ones_like(decoder_input_ids), **generation_kwargs}
        if label_ids is not None:
            options["label_ids"] = label_ids
        return super().generate(inputs=decoder_input_ids, latents=latents, **options)
