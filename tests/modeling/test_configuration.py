"""The configuration: it checks what it is given, owns its parts, and survives JSON."""

import json
import math

import pytest
from transformers import AutoConfig, BertConfig, GPT2Config, T5Config

from textvae import GRUConfig, InputError, TextVAEConfig, TextVAEModel


def test_defaults_make_a_bert_and_a_gru():
    config = TextVAEConfig()
    assert isinstance(config.encoder, BertConfig) and isinstance(config.decoder, GRUConfig)
    assert config.latent_injection == ["prefix"] and config.prefix_length == 1


@pytest.mark.parametrize(
    ("injection", "tokens", "length"),
    [("embedding", 4, 0), ("none", 4, 0), ("prefix", 1, 1), (["prefix"], 3, 3), (["embedding", "prefix"], 2, 2)],
)
def test_the_prefix_is_as_long_as_the_injection_says(injection, tokens, length):
    assert TextVAEConfig(latent_injection=injection, latent_tokens=tokens).prefix_length == length


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"latent_size": 0}, ["latent_size", "0"]),
        ({"latent_size": -3}, ["latent_size", "-3"]),
        ({"latent_tokens": 0}, ["latent_tokens", "0"]),
        ({"bos_token_id": None}, ["bos_token_id", "None"]),
        ({"eos_token_id": None}, ["eos_token_id", "None"]),
        ({"eos_token_id": []}, ["eos_token_id", "[]"]),
        ({"pad_token_id": -1}, ["pad_token_id", "-1"]),
        ({"decoder": {"model_type": "gru", "vocab_size": 9}, "bos_token_id": 9}, ["bos_token_id", "9 token ids"]),
        ({"pooling": "queries", "latent_size": 12}, ["8 pooling_queries", "latent_size is 12", "multiple"]),
        ({"pooling_queries": 0}, ["pooling_queries is 0"]),
        ({"pooling": "median"}, ["pooling", "median", "mean", "attention"]),
        ({"latent_injection": "memory"}, ["latent_injection", "memory", "prefix, embedding, output"]),
        ({"latent_injection": ["embedding", "memory"]}, ["latent_injection", "memory"]),
        ({"committed_rate": -0.1}, ["committed_rate", "-0.1"]),
        ({"mean_batch_norm": math.inf}, ["mean_batch_norm", "inf"]),
        ({"encoder": {"model_type": "brt"}}, ["brt"]),
        ({"decoder": {"model_type": "grru"}}, ["grru"]),
        ({"decoder": {"hidden_size": 32}}, ["None"]),
        ({"encoder": {"model_type": "fnet"}}, ["'fnet'", "roberta", "qwen2"]),
        ({"encoder": {"model_type": "bart"}}, ["'bart'", "encoder-decoder", "roberta", "t5"]),
        ({"encoder": {"model_type": "pegasus"}}, ["'pegasus'", "encoder-decoder", "roberta", "t5"]),
        ({"encoder": {"model_type": "gpt2"}, "pooling": "cls"}, ["pooling", "cls", "gpt2", "last"]),
        ({"decoder": {"model_type": "mamba"}}, ["'mamba'", "gpt2", "llama"]),
        ({"decoder": {"model_type": "bart"}}, ["'bart'", "encoder-decoder", "gpt2", "llama"]),
        ({"decoder": {"model_type": "t5"}}, ["'t5'", "encoder-decoder", "gpt2", "llama"]),
        ({"decoder": {"model_type": "bert"}}, ["'bert'", "as it is an encoder:", "gpt2", "llama"]),
        ({"decoder": {"model_type": "bert", "is_decoder": True}}, ["'bert'", "gpt2", "llama"]),
        ({"decoder": {"model_type": "roberta"}}, ["'roberta'", "as it is an encoder:", "gpt2", "llama"]),
        ({"decoder": {"model_type": "gemma3_text", "use_bidirectional_attention": True}}, ["attends to later tokens"]),
        ({"decoder": {"model_type": "llama", "is_causal": False}}, ["attends to later tokens"]),
    ],
)
def test_what_cannot_be_used_is_named(given, names):
    with pytest.raises(InputError) as error:
        TextVAEConfig(**given)
    assert all(name in str(error.value) for name in names) and len(str(error.value)) <= 400


def test_an_encoder_that_reads_both_ways_may_be_pooled_at_its_first_state():
    embedding_gemma = {"model_type": "gemma3_text", "use_bidirectional_attention": True}
    assert TextVAEConfig(encoder=embedding_gemma, pooling="cls").pooling == "cls"


def test_json_changes_nothing(tmp_path):
    config = TextVAEConfig(
        encoder=T5Config(d_model=24, vocab_size=37),
        decoder={"model_type": "gpt2", "n_embd": 16, "vocab_size": 37},
        latent_size=7,
        latent_injection=["embedding", "prefix"],
        latent_tokens=3,
        pooling="attention",
        min_logvar=-6.0,
        bos_token_id=5,
        eos_token_id=6,
    )
    config.save_pretrained(tmp_path)
    for opened in (TextVAEConfig.from_pretrained(tmp_path), AutoConfig.from_pretrained(tmp_path)):
        assert isinstance(opened, TextVAEConfig)
        assert isinstance(opened.encoder, T5Config) and isinstance(opened.decoder, GPT2Config)
        assert {**opened.to_dict(), "_name_or_path": ""} == config.to_dict()
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["latent_size"] == 7 and written["min_logvar"] == -6
    assert written["encoder"]["model_type"] == "t5" and written["decoder"]["n_embd"] == 16


@pytest.mark.parametrize("as_object", [True, False])
def test_the_parts_given_are_neither_shared_nor_changed(make_part, as_object):
    parts = {"encoder": make_part("encoder", "t5"), "decoder": make_part("decoder", "gpt2")}
    if as_object:
        parts = {name: AutoConfig.for_model(**values) for name, values in parts.items()}
    before = {name: part.to_dict() if as_object else dict(part) for name, part in parts.items()}
    config = TextVAEConfig(**parts)
    TextVAEModel(config)
    config.encoder.d_model = config.decoder.n_embd = 1
    for name, part in parts.items():
        assert getattr(config, name) is not part
        assert (part.to_dict() if as_object else part) == before[name]
