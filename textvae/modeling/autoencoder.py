"""TextVAEModel: text → posterior → z → text. Tensors in, tensors out.

B batch · S encoder length · T decoder length · Z latent_size · P prefix length · H, E hidden sizes · V vocabulary

A model with `label_names` takes `label_ids` (B,) everywhere, and all its distributions are given the label.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from transformers import Cache, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.utils.generic import ModelOutput

from textvae.data.special_tokens import IGNORED
from textvae.errors import InputError
from textvae.modeling.compat import CACHE_NAME
from textvae.modeling.cross_entropy import linear_cross_entropy, transform_logits
from textvae.modeling.label_vectors import check_label_ids
from textvae.modeling.pretrained_model import TextVAEPreTrainedModel
from textvae.objectives.terms import normal_kl, reparameterize

_GIVEN = cast(Tensor, None)  # the default that ModelOutput wants; the model gives each of these fields


@dataclass
class TextVAEOutput(ModelOutput):
    """What one pass over a batch of texts gives; every term in nats.

    Args:
        loss: (), the negative ELBO of a text, averaged over the batch. Never tempered.
        reconstruction: (B,), -log p(x|z), summed over the tokens of a text, EOS included.
        kl: (B, Z), KL(q(z|x) || p(z)) of each dimension; with labels that of q(z|x, c) from p(z|c).
        latents: (B, Z), the z that was decoded.
        mean, logvar: (B, Z), of q(z|x).
        bag_of_words: (B,), -log p of the words of a text, in no order, given z; only with `bag_of_words` in the config.
    """

    loss: Tensor = _GIVEN
    reconstruction: Tensor = _GIVEN
    kl: Tensor = _GIVEN
    latents: Tensor = _GIVEN
    mean: Tensor = _GIVEN
    logvar: Tensor = _GIVEN
    bag_of_words: Tensor | None = None


def shift_right(labels: Tensor, bos_token_id: int, pad_token_id: int) -> Tensor:
    """Decoder inputs for `labels` (B, T): BOS, then every token but the last; ignored positions become padding."""
    shifted = nn.functional.pad(labels, (1, -1), value=bos_token_id)
    return shifted.masked_fill(shifted == IGNORED, pad_token_id)


class TextVAEModel(TextVAEPreTrainedModel, GenerationMixin):
    """A text VAE: a transformer as encoder, a causal language model as decoder (Bowman et al. 2016).

    x → encoder → [`Posterior`] q(z|x) → z → [`Injection`] → decoder → log p(x|z).

    With `label_names` it is a conditional VAE, see [`LabelVectors`]. With `latent_injection` none it is the decoder
    alone, a language model whose q(z|x) is the prior.
    """

    # c → z

    def prior_parameters(self, label_ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, within the posterior's bounds, of p(z|c), in fp32.

        Args:
            label_ids: (B,), for a model with labels.

        Returns:
            Two times (B, Z); for a model without labels two times (1, Z), of zeros: N(0, I).

        Raises:
            InputError: if `label_ids` are missing, or given to a model without labels.
        """
        check_label_ids(self.config.label_names, label_ids, 0 if label_ids is None else len(label_ids))
        if self.label_vectors is None or self.label_vectors.to_prior is None:
            prior = torch.zeros(1, self.config.latent_size, device=self.device)
            return prior, prior
        mean, logvar = self.label_vectors.to_prior(label_ids).float().chunk(2, dim=-1)
        return mean, logvar.clamp(self.config.min_logvar, self.config.max_logvar)

    # text → z

    def posterior_parameters(
        self, input_ids: Tensor, attention_mask: Tensor, label_ids: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, within its bounds, of q(z|x) for texts (B, S): two times (B, Z), in fp32.

        Raises:
            InputError: if `label_ids` are missing, or given to a model without labels.
        """
        check_label_ids(self.config.label_names, label_ids, len(input_ids))
        if self.encoder is None or self.posterior is None:
            mean, logvar = self.prior_parameters(label_ids)
            return mean.expand(len(input_ids), -1), logvar.expand(len(input_ids), -1)
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state  # (B, S, H)
        if self.encoder.dtype != self.posterior.to_mean.weight.dtype:  # a frozen encoder may be in bf16
            states = states.to(self.posterior.to_mean.weight.dtype)
        to_pooled = None if self.label_vectors is None else self.label_vectors.to_pooled
        return self.posterior(states, attention_mask, None if to_pooled is None else to_pooled(label_ids))

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

    def _decoded(
        self,
        latents: Tensor,
        decoder_input_ids: Tensor,
        attention_mask: Tensor | None,
        label_ids: Tensor | None,
        cache: Cache | None = None,
        use_cache: bool | None = False,
    ) -> tuple[Tensor, Cache | None]:
        """The decoder's last hidden states, (B, P + T, H) or (B, T, H) if the cache holds the prefix, and its cache."""
        check_label_ids(self.config.label_names, label_ids, len(decoder_input_ids))
        embeds = self.decoder.get_input_embeddings()(decoder_input_ids)  # (B, T, E)
        start = 0 if cache is None else int(cache.get_seq_length())
        embeds = self.injection.inputs(latents, embeds, start)
        if self.label_vectors is not None:
            embeds = embeds + self.label_vectors.to_embedding(label_ids).unsqueeze(1).to(embeds.dtype)
        output = self.decoder.base_model(
            inputs_embeds=embeds,
            attention_mask=self.injection.mask(attention_mask),
            use_cache=use_cache,
            **{CACHE_NAME: cache},
        )
        return self.injection.states(latents, output.last_hidden_state, start), getattr(output, CACHE_NAME)

    def _decoder_states(
        self, latents: Tensor, decoder_input_ids: Tensor, attention_mask: Tensor | None, label_ids: Tensor | None
    ) -> Tensor:
        """The decoder's last hidden states at the T text positions: (B, T, H)."""
        states, _ = self._decoded(latents, decoder_input_ids, attention_mask, label_ids)
        return states[:, self.config.prefix_length :]

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
            label_ids: (B,), for a model with labels.

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
        """-log p(x|z) of each text in nats, summed over its tokens, EOS included; (B, T, V) logits are never held.

        Args:
            latents: (B, Z).
            labels: (B, T), the tokens to predict, -100 at padding.
            decoder_input_ids: (B, T), BOS first; `labels` shifted right if not given.
            label_ids: (B,), for a model with labels: classes, not tokens.

        Returns:
            (B,) in fp32.

        Raises:
            InputError: if `label_ids` are missing, or given to a model without labels.
        """
        nll = self._predicted_nll(latents, labels, decoder_input_ids, label_ids)
        rows = (labels != IGNORED).nonzero()[:, 0]
        return nll.new_zeros(len(labels)).index_add(0, rows, nll)

    def token_nll(
        self,
        latents: Tensor,
        labels: Tensor,
        decoder_input_ids: Tensor | None = None,
        label_ids: Tensor | None = None,
    ) -> Tensor:
        """-log p of each token given z and the tokens before it, in nats: the terms of [`reconstruction`].

        Arguments and errors are those of [`reconstruction`].

        Returns:
            (B, T) in fp32, 0 at padding.
        """
        nll = self._predicted_nll(latents, labels, decoder_input_ids, label_ids)
        return nll.new_zeros(labels.shape).masked_scatter(labels != IGNORED, nll)

    def _predicted_nll(
        self, latents: Tensor, labels: Tensor, decoder_input_ids: Tensor | None, label_ids: Tensor | None
    ) -> Tensor:
        """The nats of the tokens that are no padding, text by text, in one row."""
        if decoder_input_ids is None:
            start, padding = cast(int, self.config.bos_token_id), cast(int, self.config.pad_token_id)
            decoder_input_ids = shift_right(labels, start, padding)
        predicted = labels != IGNORED  # (B, T)
        # No mask: padding on the right cannot change a text, and causal attention without a mask is faster.
        states = self._decoder_states(latents, decoder_input_ids, None, label_ids)
        head = self.get_output_embeddings()
        return linear_cross_entropy(
            states[predicted], head.weight, head.bias, labels[predicted], self.logit_scale, self.logit_softcap
        )

    def bag_of_words(self, latents: Tensor, labels: Tensor) -> Tensor:
        """-log p of the words of each text, in no order, given z; see [`BagOfWords`].

        Args:
            latents: (B, Z).
            labels: (B, T), -100 at padding.

        Returns:
            (B,) in fp32, nats.

        Raises:
            InputError: if the model has no head for it (`bag_of_words` of [`TextVAEConfig`]).
        """
        if self.to_bag_of_words is None:
            raise InputError("This model has no bag-of-words head: build it with bag_of_words=True.")
        return self.to_bag_of_words.nll(latents, labels)

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

        Without `input_ids` it is one step of [`generate`]: next-token logits of `decoder_input_ids` given `latents`.

        Args:
            input_ids: (B, S), the texts to encode.
            attention_mask: (B, S), 0 at padding.
            labels: (B, T), the tokens to write, -100 at padding; `input_ids` if not given.
            decoder_input_ids: (B, T), BOS first; `labels` shifted right if not given.
            latents: (B, Z), decoded instead of a sample of the posterior.
            noise: (B, Z), the standard normal draw to use in z = mean + exp(logvar / 2) · noise.
            label_ids: (B,), for a model with labels.
            cache, use_cache: of the decoder, in the steps of [`generate`].
            return_dict: accepted because transformers passes it; the output is never a tuple.
            past_key_values: the name of `cache` in transformers before 5.24.

        Returns:
            [`TextVAEOutput`] with the `loss` in nats per text; without `input_ids` the decoder's output, with the
            logits (B, 1, V) of the next token.

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
        states, cache = self._decoded(latents, decoder_input_ids, attention_mask, label_ids, cache, use_cache)
        kept: dict[str, Any] = {CACHE_NAME: cache}
        return CausalLMOutputWithPast(logits=self._logits(states[:, -1:]), **kept)

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs) -> dict:
        """`generate` extends its input, which is the decoder's here."""
        inputs = super().prepare_inputs_for_generation(input_ids, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]
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
        """Write texts from z, with every decoding control of Hugging Face's `generate`.

        Args:
            latents: (B, Z).
            decoder_input_ids: (B, T), the start of each text, BOS first; BOS alone if not given.
            label_ids: (B,), for a model with labels.
            generation_kwargs: `max_new_tokens`, `num_beams`, `do_sample`, `top_p`, `num_return_sequences`, …

        Returns:
            (B · num_return_sequences, T) token ids, BOS first, padded behind EOS.

        Raises:
            InputError: if `latents` is not (B, Z), or `label_ids` are missing, or given to a model without labels.
        """
        self._check_latents(latents)
        check_label_ids(self.config.label_names, label_ids, len(latents))
        if decoder_input_ids is None:
            start = cast(int, self.config.bos_token_id)
            decoder_input_ids = torch.full((len(latents), 1), start, device=latents.device)
        # Without a mask `generate` takes a BOS that is also the padding token, as in GPT-2, for padding.
        options = {"attention_mask": torch.ones_like(decoder_input_ids), **generation_kwargs}
        if label_ids is not None:
            options["label_ids"] = label_ids
        return super().generate(  # pyright: ignore[reportAttributeAccessIssue]
            inputs=decoder_input_ids, latents=latents, **options
        )
