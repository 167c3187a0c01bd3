"""from_encoder_decoder opens real checkpoints with exactly their weights, or says in one sentence why not."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from textvae import InputError, TextVAEModel
from textvae.modeling.load import load_model

BART = {
    **{"model_type": "bart", "vocab_size": 37, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1},
    **{"encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "encoder_attention_heads": 2, "decoder_attention_heads": 2},
}


@pytest.fixture
def save(make_part, shaken, tmp_path):
    """(auto class, side, name, changes) → the path and the weights of a saved tiny model."""

    def save(auto_class, side, name, **changes):
        torch.manual_seed(0)
        values = BART if name == "bart" else make_part(side, name, **changes)
        model, path = shaken(auto_class.from_config(AutoConfig.for_model(**values))), tmp_path / f"{side}-{name}"
        model.save_pretrained(path)
        return str(path), model.state_dict()

    return save


@pytest.fixture
def encoder(save):
    return save(AutoModel, "encoder", "bert")[0]


@pytest.fixture
def decoder(save):
    return save(AutoModelForCausalLM, "decoder", "gpt2")[0]


def edit(path, change):
    """Applies `change` to the saved weights, a dictionary."""
    weights = load_file(f"{path}/model.safetensors")
    change(weights)
    save_file(weights, f"{path}/model.safetensors", metadata={"format": "pt"})


def refused(*paths, **config):
    with pytest.raises(InputError) as error:
        TextVAEModel.from_encoder_decoder(*paths, **config)
    message = str(error.value)
    assert message.endswith(".") and "\n" not in message and len(message) <= 400
    return message


def test_a_checkpoint_with_a_missing_layer_is_refused(encoder, decoder):
    layer = "encoder.layer.1.output."
    edit(encoder, lambda weights: [weights.pop(name) for name in list(weights) if name.startswith(layer)])
    message = refused(encoder, decoder)
    assert f"{layer}LayerNorm.bias" in message and "missing" in message and "1 more" in message


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_a_language_model_with_a_missing_or_an_unknown_weight_is_refused(encoder, decoder, side):
    paths = [encoder if side == "decoder" else decoder, decoder]
    edit(decoder, lambda weights: weights.update({"transformer.h.9.ln_1.weight": torch.ones(16)}))
    message = refused(*paths)
    assert f"weights of the {side}" in message and "unexpected: transformer.h.9.ln_1.weight)" in message
    edit(decoder, lambda weights: [weights.pop(f"transformer.h.{name}.ln_1.weight") for name in (0, 9)])
    message = refused(*paths)
    assert f"weights of the {side}" in message and "missing: " in message and "h.0.ln_1.weight)" in message


def test_a_checkpoint_with_a_layer_too_many_is_refused(encoder, decoder):
    config = AutoConfig.from_pretrained(encoder)
    config.num_hidden_layers = 1
    config.save_pretrained(encoder)
    assert "unexpected: encoder.layer.1." in refused(encoder, decoder)


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_weights_of_another_size_are_refused(encoder, decoder, side):
    path = {"encoder": encoder, "decoder": decoder}[side]
    config = AutoConfig.from_pretrained(path)
    config.vocab_size = 41
    config.save_pretrained(path)
    assert "of another size: " in refused(encoder, decoder)


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "modernbert", "t5"])
def test_a_head_and_a_decoder_beside_the_encoder_are_left_alone(save, decoder, name):
    auto_class = AutoModelForSeq2SeqLM if name == "t5" else AutoModelForMaskedLM
    path, weights = save(auto_class, "encoder", name)
    model = TextVAEModel.from_encoder_decoder(path, decoder)
    used = model.encoder.state_dict()
    prefix = "" if name == "t5" else f"{model.encoder.base_model_prefix}."
    assert len(used) > 10 and all(torch.equal(value, weights[prefix + key]) for key, value in used.items())


def test_a_layer_too_many_beside_a_head_is_refused(save, decoder):
    path, _ = save(AutoModelForMaskedLM, "encoder", "bert")
    edit(path, lambda weights: weights.update({"bert.encoder.layer.2.output.dense.bias": torch.ones(24)}))
    assert "unexpected: bert.encoder.layer.2.output.dense.bias)" in refused(path, decoder)


def test_constants_that_old_checkpoints_carry_are_no_weights(encoder, decoder):
    edit(encoder, lambda weights: weights.update({"embeddings.position_ids": torch.arange(512)[None]}))
    old = {"transformer.h.0.attn.bias": torch.ones(1), "transformer.h.0.attn.masked_bias": torch.ones(1)}
    edit(decoder, lambda weights: weights.update(old))
    TextVAEModel.from_encoder_decoder(encoder, decoder)


@pytest.mark.parametrize("name", ["gpt2", "llama", "gru"])
def test_a_tied_head_need_not_be_saved_and_any_other_must(save, encoder, name):
    path, weights = save(AutoModel, "decoder", name, tie_word_embeddings=True)
    model = TextVAEModel.from_encoder_decoder(encoder, path)
    head = model.decoder.get_output_embeddings().weight
    assert head is model.decoder.get_input_embeddings().weight
    assert any(torch.equal(head, value) for value in weights.values())
    path, _ = save(AutoModel, "decoder", name, tie_word_embeddings=False)
    message = refused(encoder, path)
    assert "missing: lm_head.weight)" in message and "language-model head" in message


def test_a_causal_language_model_may_be_the_encoder(save, decoder, make_texts):
    path, weights = save(AutoModelForCausalLM, "decoder", "llama", tie_word_embeddings=False)
    model = TextVAEModel.from_encoder_decoder(path, decoder, pooling="last")
    assert all(torch.equal(value, weights[f"model.{name}"]) for name, value in model.encoder.state_dict().items())
    assert "pooling" in refused(path, decoder, pooling="cls")
    batch = make_texts([7, 4])
    changed = {name: tensor.clone() for name, tensor in batch.items()}
    changed["input_ids"][:, 0] = 5 + batch["input_ids"][:, 0] % 30
    assert not torch.isclose(model.encode(**batch).loc, model.encode(**changed).loc).all()


def test_families_that_do_not_work_are_refused_before_their_weights_are_read(save, encoder, decoder):
    bart, _ = save(AutoModelForSeq2SeqLM, "encoder", "bart")
    (t5, _), (roberta, _) = (save(auto, "encoder", name) for auto, name in ((AutoModel, "t5"), (AutoModel, "roberta")))
    message = refused(bart, decoder)
    assert "'bart' cannot be the encoder, as the encoder of an encoder-decoder" in message
    assert "AutoModelForTextEncoding" in message
    for path, name in ((bart, "bart"), (t5, "t5")):
        message = refused(encoder, path)
        assert f"'{name}' cannot be the decoder, as it is an encoder-decoder" in message
        assert "AutoModelForCausalLM" in message
    for path, name in ((encoder, "bert"), (roberta, "roberta")):
        message = refused(encoder, path)
        assert f"'{name}' cannot be the decoder, as it is an encoder" in message and "llama" in message


def test_what_is_not_there_or_broken_is_said(encoder, decoder, tmp_path):
    assert f"no directory '{tmp_path / 'none'}'" in refused(str(tmp_path / "none"), decoder)
    assert f"no directory '{tmp_path / 'none'}'" in refused(encoder, str(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    assert "No decoder could be opened from" in refused(encoder, str(tmp_path / "empty"))
    weights = tmp_path / "encoder-bert" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    assert "corrupt" in refused(encoder, decoder)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, "bfloat16"])
def test_all_weights_have_the_dtype_that_is_asked_for(encoder, decoder, make_texts, tmp_path, dtype):
    given = {} if dtype == torch.float32 else {"dtype": dtype}
    model = TextVAEModel.from_encoder_decoder(encoder, decoder, latent_injection=["embedding", "prefix"], **given)
    expected = torch.float32 if dtype == torch.float32 else torch.bfloat16
    assert {parameter.dtype for parameter in model.parameters()} == {expected} and not model.training
    assert model(**make_texts([5, 3])).loss.isfinite()
    assert model.generate(torch.zeros(2, 64), max_new_tokens=3).shape[0] == 2
    model.save_pretrained(tmp_path / "both")
    opened = load_model(str(tmp_path / "both"), expected)
    assert all(torch.equal(value, opened.state_dict()[name]) for name, value in model.state_dict().items())


def test_in_bf16_the_batch_norm_of_the_means_stays_in_fp32(encoder, decoder, make_texts, tmp_path):
    config = {"dtype": torch.bfloat16, "mean_batch_norm": 0.5}
    model = TextVAEModel.from_encoder_decoder(encoder, decoder, **config)
    model.train()(**make_texts([5, 3])).loss.backward()
    model.eval().save_pretrained(tmp_path / "both")
    opened = load_model(str(tmp_path / "both"), torch.bfloat16)
    assert opened.posterior.to_mean.weight.dtype == torch.bfloat16
    norm = {name: value for name, value in model.posterior.mean_norm.state_dict().items() if value.is_floating_point()}
    assert len(norm) == 3 and all(value.dtype == torch.float32 for value in norm.values())
    assert all(torch.equal(opened.posterior.mean_norm.state_dict()[name], value) for name, value in norm.items())
    assert all(opened.posterior.mean_norm.state_dict()[name].dtype == torch.float32 for name in norm)
    noise = torch.zeros(2, 64)
    expected = model(**make_texts([5, 3]), noise=noise).loss
    assert expected.isfinite() and torch.equal(opened(**make_texts([5, 3]), noise=noise).loss, expected)


def test_special_tokens_are_the_decoders_unless_they_are_stated(save, encoder):
    path, _ = save(AutoModelForCausalLM, "decoder", "gpt2", pad_token_id=None, bos_token_id=7, eos_token_id=8)
    config = TextVAEModel.from_encoder_decoder(encoder, path, pad_token_id=9, eos_token_id=[8, 9]).config
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (9, 7, [8, 9])


def test_special_tokens_that_a_decoder_does_not_have_are_its_eos_which_is_needed(save, encoder):
    none = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"))
    path, _ = save(AutoModelForCausalLM, "decoder", "gpt2", **none | {"eos_token_id": 8})
    config = TextVAEModel.from_encoder_decoder(encoder, path).config
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (8, 8, 8)
    path, _ = save(AutoModelForCausalLM, "decoder", "llama", **none)
    assert "names no EOS" in refused(encoder, path) and "give eos_token_id" in refused(encoder, path)
    assert TextVAEModel.from_encoder_decoder(encoder, path, eos_token_id=[5, 6]).config.bos_token_id == 5
