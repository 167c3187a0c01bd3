"""Private and unsettled names of other libraries, a test each: it fails where a new version has changed one."""

import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    DynamicCache,
    LlamaForCausalLM,
    T5Config,
    initialization,
)
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from textvae import GRUConfig, GRUForCausalLM, GRUModel
from textvae.modeling import compat
from textvae.processes import forget_precision

IDS = torch.tensor([[5, 9, 7], [4, 6, 8]])
GRU = GRUConfig(vocab_size=37, embedding_size=14, hidden_size=18, tie_word_embeddings=False)


@pytest.fixture
def llama(make_part, shaken):
    torch.manual_seed(0)
    return shaken(AutoModelForCausalLM.from_config(AutoConfig.for_model(**make_part("decoder", "llama"))))


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


# compat: caches, files and recomputed activations


def test_the_cache_goes_by_one_name_into_and_out_of_every_decoder(llama):
    assert compat.CACHE_NAME in ("cache", "past_key_values")
    for kind in (BaseModelOutputWithPast, CausalLMOutputWithPast):
        assert compat.CACHE_NAME in kind.__dataclass_fields__
    with torch.no_grad():
        start = llama(IDS[:, :2], use_cache=True, **{compat.CACHE_NAME: None})
        cache = getattr(start, compat.CACHE_NAME)
        assert cache.get_seq_length() == 2
        close(llama(IDS[:, 2:], use_cache=True, **{compat.CACHE_NAME: cache}).logits, llama(IDS).logits[:, 2:])


def test_cached_file_returns_none_for_a_file_that_is_not_there(llama, tmp_path):
    llama.save_pretrained(tmp_path)
    assert compat.hub_file(str(tmp_path), "model.safetensors") == str(tmp_path / "model.safetensors")
    assert compat.hub_file(str(tmp_path), "pytorch_model.bin") is None


def test_get_checkpoint_shard_files_names_every_shard(llama, tmp_path):
    llama.save_pretrained(tmp_path, max_shard_size="5KB")
    shards = sorted(str(path) for path in tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    assert compat.shard_files(str(tmp_path), str(tmp_path / "model.safetensors.index.json")) == shards


def test_every_layer_of_a_transformer_is_a_gradient_checkpointing_layer(make_model, llama):
    assert compat.checkpointing_layers(llama) == list(llama.model.layers)
    assert len(compat.checkpointing_layers(make_model("bert", "llama"))) == 4
    assert not any(map(compat.recomputes, llama.modules()))
    compat.enable_checkpointing(llama)
    assert [module for module in llama.modules() if compat.recomputes(module)] == list(llama.model.layers)


def test_without_reentry_an_input_without_gradient_still_gives_one_to_the_weights(llama):
    llama.model.embed_tokens.requires_grad_(False)
    compat.enable_checkpointing(llama.train())
    assert not llama.model.embed_tokens(IDS).requires_grad, "or all activations of a frozen encoder would be kept"
    llama(IDS).logits.sum().backward()
    assert all(layer.mlp.up_proj.weight.grad.any() for layer in llama.model.layers)


def test_a_layer_recomputes_by_the_function_that_it_is_given(llama):
    calls, (first, second) = [], llama.model.layers

    def counted(function, *inputs):
        calls.append(function)
        return checkpoint(function, *inputs, use_reentrant=False)

    expected = llama.train()(IDS).logits
    compat.set_checkpointing(first, True, counted)
    compat.set_checkpointing(second, False, counted)
    close(llama(IDS).logits, expected)
    assert len(calls) == 1, "in the first layer alone"
    llama.eval()(IDS)
    assert len(calls) == 1, "in training alone"


# used where they are needed


class Last(DynamicLayer):
    """Of all keys, only the last."""

    def update(self, key_states, value_states, *args, **kwargs):
        self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
        self.keys = self.values = key_states[..., -1:, :]
        return self.keys, self.values


def test_a_dynamic_cache_can_have_layers_of_another_kind():
    """`layers`, `layer_class_to_replicate`, and of a `DynamicLayer` all that beams ask for."""
    cache = DynamicCache()
    assert cache.layers == [] and hasattr(cache, "layer_class_to_replicate")
    cache.layer_class_to_replicate, cache.layers = None, [Last(), Last()]
    keys = torch.arange(12.0).view(2, 1, 3, 2)
    for layer in (0, 1):
        kept, _ = cache.update(keys, keys, layer)
        assert torch.equal(kept, keys[:, :, -1:])
    assert len(cache.layers) == 2 and all(isinstance(layer, Last) for layer in cache.layers)
    cache.reorder_cache(torch.tensor([1, 1]))
    assert torch.equal(cache.layers[1].keys, keys[[1, 1], :, -1:])
    cache.reset()


def test_modules_that_are_kept_in_fp32_strictly_are_so_in_bf16(tmp_path):
    class Strict(GRUForCausalLM):
        _keep_in_fp32_modules_strict = ["projection"]

    GRUForCausalLM(GRU).save_pretrained(tmp_path)
    model = Strict.from_pretrained(tmp_path, dtype=torch.bfloat16)
    dtypes = {name: parameter.dtype for name, parameter in model.named_parameters()}
    kept = {name for name, dtype in dtypes.items() if dtype == torch.float32}
    assert kept == {"model.projection.weight", "model.projection.bias"}
    assert set(dtypes.values()) == {torch.float32, torch.bfloat16}


def test_tied_weights_keys_name_what_is_tied(tmp_path):
    assert GRUForCausalLM._tied_weights_keys == {"lm_head.weight": "model.embed_tokens.weight"}
    assert LlamaForCausalLM._tied_weights_keys == GRUForCausalLM._tied_weights_keys, "as in transformers itself"
    tied = GRUForCausalLM(GRUConfig(vocab_size=37, hidden_size=18, tie_word_embeddings=True))
    assert tied.lm_head.weight is tied.model.embed_tokens.weight


def test_init_weights_is_called_for_each_new_module():
    class Sevens(GRUForCausalLM):
        def _init_weights(self, module):
            super()._init_weights(module)
            if isinstance(module, nn.Linear):
                nn.init.constant_(module.weight, 7.0)

    model = Sevens(GRU)
    assert (model.lm_head.weight == 7).all()
    assert not (model.model.projection.weight == 7).any(), "in a model of its own, which has an `_init_weights`, too"


def test_the_initialization_of_transformers_skips_weights_that_were_loaded():
    new, loaded = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    loaded._is_hf_initialized = True
    for parameter in (new, loaded):
        initialization.zeros_(parameter)
    assert (new == 0).all() and (loaded == 1).all()


@pytest.mark.parametrize("implementation", ["sdpa", "flash_attn"])
def test_a_model_says_which_attention_it_supports(implementation):
    name = f"_supports_{implementation}"
    assert getattr(GRUForCausalLM, name) is False and getattr(LlamaForCausalLM, name) is True
    assert LlamaForCausalLM._supports_attention_backend is True


def test_an_attention_that_a_model_does_not_support_is_refused():
    class WithAttention(GRUModel):
        _supports_sdpa = True

    assert WithAttention._from_config(GRU, attn_implementation="sdpa").config._attn_implementation == "sdpa"
    with pytest.raises(ValueError, match="scaled_dot_product_attention"):
        GRUModel._from_config(GRU, attn_implementation="sdpa")


def test_the_mapping_of_text_encoders_knows_those_that_stand_alone():
    assert T5Config in MODEL_FOR_TEXT_ENCODING_MAPPING and GRUConfig not in MODEL_FOR_TEXT_ENCODING_MAPPING
    assert MODEL_FOR_TEXT_ENCODING_MAPPING[T5Config].__name__ == "T5EncoderModel"


def test_reset_state_allows_another_precision():
    forget_precision()
    for precision in ("no", "bf16"):
        assert Accelerator(mixed_precision=precision).mixed_precision == precision
        forget_precision()


def test_foreach_lerp_moves_every_tensor_by_its_share():
    averages, weights = [torch.zeros(2), torch.ones(3, 1)], [torch.ones(2), torch.full((3, 1), 5.0)]
    torch._foreach_lerp_(averages, weights, 0.25)
    assert averages[0].tolist() == [0.25, 0.25] and averages[1].flatten().tolist() == [2.0] * 3


def test_lora_layers_can_be_told_merged_and_taken_out(llama):
    peft = pytest.importorskip("peft")
    before = llama(IDS).logits
    peft.inject_adapter_in_model(peft.LoraConfig(r=2, target_modules="all-linear"), llama)
    layers = [layer for layer in llama.modules() if isinstance(layer, peft.tuners.lora.LoraLayer)]
    assert len(layers) == 2 * 7 and not isinstance(llama.lm_head, peft.tuners.lora.LoraLayer)
    assert all("lora_" in name for layer in layers for name, p in layer.named_parameters() if "base_layer" not in name)
    nn.init.constant_(layers[0].lora_B["default"].weight, 0.1)
    adapted = llama(IDS).logits
    assert (adapted - before).abs().max() > 1e-3
    for layer in layers:
        layer.merge()
    close(llama(IDS).logits, adapted)
    assert type(layers[0].get_base_layer()) is nn.Linear
    assert llama.peft_config.keys() == {"default"}


def test_a_4_bit_layer_says_whether_a_cpu_may_repack_it():
    bitsandbytes = pytest.importorskip("bitsandbytes")
    assert hasattr(bitsandbytes.nn.Linear4bit(4, 4), "support_avx512bf16_for_cpu")
    assert bitsandbytes.autograd._functions.__name__ == "bitsandbytes.autograd._functions"
