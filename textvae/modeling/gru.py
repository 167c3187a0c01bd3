"""A GRU language model for Hugging Face's `generate`, like any other causal LM; its cache is the recurrent state.

B batch · T length · E embedding_size · H hidden_size · V vocab_size
"""

from typing import Any, cast

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import DynamicCache, GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init  # torch.nn.init, but it skips loaded weights
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from textvae.modeling.compat import CACHE_NAME


@strict
class GRUConfig(PreTrainedConfig):
    """Configuration of a [`GRUForCausalLM`].

    Args:
        embedding_size: E, size of the token embeddings and of the states that the softmax reads; `hidden_size` by
            default.
        hidden_size: H, size of the recurrent state.
        dropout: dropout on the embeddings, between layers and on the output.
        variational_dropout: whether all positions of a text share one dropout mask (Gal & Ghahramani 2016).
        weight_dropout: dropout on the hidden-to-hidden weights, one mask per forward pass (DropConnect; Merity et al.
            2018, AWD-LSTM).
    """

    model_type = "gru"

    vocab_size: int = 8000
    embedding_size: int | None = None
    hidden_size: int = 512
    num_hidden_layers: int = 1
    dropout: float = 0.0
    variational_dropout: bool = False
    weight_dropout: float = 0.0
    initializer_range: float = 0.1
    tie_word_embeddings: bool = True
    use_cache: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = 2
    eos_token_id: int | list[int] | None = 3

    def __post_init__(self, **kwargs):
        self.embedding_size = self.embedding_size or self.hidden_size
        super().__post_init__(**kwargs)


class GRUState(DynamicLayer):
    """The recurrent state of a layer, stored in place of the keys of an attention layer: (B, 1, 1, H)."""

    is_croppable = False

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.length = 0

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args, **kwargs):
        """Replace the state with the last of `key_states` (B, 1, T, H)."""
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        self.length += key_states.shape[-2]
        self.keys = self.values = key_states[..., -1:, :]
        return self.keys, self.values

    def get_seq_length(self) -> int:
        return self.length

    def reset(self) -> None:
        super().reset()
        self.length = 0


class Dropout(nn.Module):
    """Dropout on (B, T, H); if `shared`, with one mask for all T positions."""

    def __init__(self, probability: float, shared: bool):
        super().__init__()
        self.probability, self.shared = probability, shared

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        if not self.shared:
            return nn.functional.dropout(states, self.probability, self.training)
        mask = nn.functional.dropout(torch.ones_like(states[:, :1]), self.probability, self.training)  # (B, 1, H)
        return states * mask


class GRUPreTrainedModel(PreTrainedModel):
    config_class = GRUConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = False

    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, nn.GRU):
            for name, parameter in module.named_parameters():
                if name.startswith("weight_hh"):
                    gates = [
                        nn.init.orthogonal_(torch.empty_like(gate, dtype=torch.float32)) for gate in parameter.chunk(3)
                    ]
                    init.copy_(parameter, torch.cat(gates))
                elif name.startswith("weight_ih"):
                    init.xavier_uniform_(parameter)
                else:
                    init.zeros_(parameter)


class GRUModel(GRUPreTrainedModel):
    """A stack of GRU layers: token embeddings (B, T, E) to output states (B, T, E), which the softmax reads."""

    def __init__(self, config: GRUConfig):
        super().__init__(config)
        embedding_size = cast(int, config.embedding_size)  # `__post_init__` of the config has set it
        sizes = [embedding_size] + [config.hidden_size] * config.num_hidden_layers
        self.embed_tokens = nn.Embedding(config.vocab_size, embedding_size, config.pad_token_id)
        self.layers = nn.ModuleList(nn.GRU(i, o, batch_first=True) for i, o in zip(sizes, sizes[1:], strict=False))
        projects = config.hidden_size != embedding_size
        self.projection = nn.Linear(config.hidden_size, embedding_size) if projects else nn.Identity()
        self.dropout = Dropout(config.dropout, config.variational_dropout)
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        cache: DynamicCache | None = None,
        use_cache: bool | None = None,
        past_key_values: DynamicCache | None = None,
    ) -> BaseModelOutputWithPast:
        """Return output states (B, T, E); `attention_mask` is ignored, since padding on the right changes nothing."""
        states = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds  # (B, T, E)
        cache = self._cache(past_key_values if cache is None else cache) if use_cache else None
        for layer, gru in enumerate(self.layers):
            state = cast(GRUState, cache.layers[layer]).keys if cache is not None else None
            state = None if state is None else state[:, 0].transpose(0, 1).contiguous()  # (1, B, H)
            states, _ = self._run(gru, self.dropout(states), state)
            if cache is not None:
                cache.update(states[:, None], states[:, None], layer)
        states = self.projection(self.dropout(states))
        kept: dict[str, Any] = {CACHE_NAME: cache}
        return BaseModelOutputWithPast(last_hidden_state=states, **kept)

    def _run(
        self, gru: nn.Module, states: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not (self.training and self.config.weight_dropout):
            return gru(states, state)
        kept = nn.functional.dropout(cast(torch.Tensor, gru.weight_hh_l0), self.config.weight_dropout)
        return torch.func.functional_call(gru, {"weight_hh_l0": kept}, (states, state))

    def _cache(self, cache: DynamicCache | None) -> DynamicCache:
        cache = DynamicCache() if cache is None else cache
        if cache.get_seq_length() == 0:
            cache.layer_class_to_replicate = None
            cache.layers = cast(list, [GRUState() for _ in self.layers])
        return cache


class GRUForCausalLM(GRUPreTrainedModel, GenerationMixin):
    """GRU language model with, by default, a softmax tied to its embeddings (Press & Wolf 2017)."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: GRUConfig):
        super().__init__(config)
        self.model = GRUModel(config)
        self.lm_head = nn.Linear(self.model.embed_tokens.embedding_dim, config.vocab_size, bias=False)
        self.post_init()

    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        cache: DynamicCache | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        return_dict: bool | None = None,
        past_key_values: DynamicCache | None = None,
    ) -> CausalLMOutputWithPast:
        """Return the next-token logits (B, T, V); `labels` are shifted inside, as in every Hugging Face causal LM."""
        output = self.model(input_ids, attention_mask, inputs_embeds, cache, use_cache, past_key_values)
        positions = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(output.last_hidden_state[:, positions])
        loss = None if labels is None else self.loss_function(logits, labels, self.config.vocab_size)
        return CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE_NAME: getattr(output, CACHE_NAME)})
