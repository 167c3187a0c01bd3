"""Embeddings that encoder and decoder share: one parameter, saved once, opened, extended, reset and untied."""

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import BERT, GPT2, GRU, SENTENCES, config, write_lines

from textvae import TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.modeling.families import token_embeddings
from textvae.modeling.tied import untie
from textvae.training.optimization import make_optimizer, reset_decoder
from textvae.training.train import train

SIZES = {"gru": {**GRU, "embedding_size": 16}, "gpt2": GPT2, "wider": GRU}
TIED = {"decoder": SIZES["gru"], "tie_encoder_embeddings": True}
SPECIAL = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}


def model_of(decoder="gru", tie=True):
    torch.manual_seed(0)
    parts = {"encoder": {**BERT, **SPECIAL}, "decoder": {**SIZES[decoder], **SPECIAL}}
    return TextVAEModel(TextVAEConfig(**parts, latent_size=5, tie_encoder_embeddings=tie)).eval()


def weights_of(model):
    return [token_embeddings(part).weight for part in (model.encoder, model.decoder)]


@pytest.mark.parametrize("decoder", ["gru", "gpt2"])
def test_they_are_one_parameter_with_the_gradients_of_both(decoder):
    model = model_of(decoder)
    encoder, decoder_weight = weights_of(model)
    assert encoder is decoder_weight
    assert model_of(decoder, tie=False).num_parameters() - model.num_parameters() == encoder.numel()
    ids = torch.tensor([[7, 8, 3]])
    apart = model_of(decoder)
    untie(apart)
    for one in (model, apart):
        one(ids, noise=torch.zeros(1, 5)).loss.backward()
    first, second = weights_of(apart)
    torch.testing.assert_close(encoder.grad, first.grad + second.grad)


@pytest.mark.parametrize("decoder", ["gru", "gpt2"])
def test_they_are_saved_once_and_shared_again_when_opened(tmp_path, decoder):
    model = model_of(decoder)
    model.save_pretrained(tmp_path)
    assert sum(tensor.shape == (40, 16) for tensor in load_file(tmp_path / "model.safetensors").values()) == 1
    opened = TextVAEModel.from_pretrained(tmp_path).eval()
    assert len({id(weight) for weight in weights_of(opened)}) == 1
    ids, noise = torch.tensor([[7, 8, 3]]), torch.ones(1, 5)
    assert opened(ids, noise=noise).loss == model(ids, noise=noise).loss


def test_those_of_other_shapes_are_not_shared_and_the_config_says_so(tmp_path):
    model = model_of("wider")
    assert not model.config.tie_encoder_embeddings and len({weight.shape for weight in weights_of(model)}) == 2
    model.save_pretrained(tmp_path)
    assert not TextVAEConfig.from_pretrained(tmp_path).tie_encoder_embeddings


def test_untied_they_are_equal_and_go_apart(tmp_path):
    model = model_of()
    untie(model)
    first, second = weights_of(model)
    assert first is not second and first.equal(second)
    with torch.no_grad():
        first[7] += 1
    model.save_pretrained(tmp_path)
    opened = weights_of(TextVAEModel.from_pretrained(tmp_path))
    assert opened[0].equal(first) and opened[1].equal(second)


def test_a_new_decoder_keeps_what_the_encoder_reads():
    model = model_of()
    before, hidden = weights_of(model)[0].clone(), model.decoder.model.layers[0].weight_hh_l0.clone()
    reset_decoder(model, make_optimizer(config("x", "y"), model), seed=1)
    assert weights_of(model)[0] is weights_of(model)[1] and weights_of(model)[0].equal(before)
    assert not model.decoder.model.layers[0].weight_hh_l0.equal(hidden)


@pytest.fixture(scope="module")
def tied(tmp_path_factory):
    """The directory of a finished run whose model shares its embeddings."""
    place = tmp_path_factory.mktemp("tied")
    settings = config(write_lines(place / "texts.txt"), place / "run", **TIED, save_steps=3)
    assert train(settings).model.config.tie_encoder_embeddings
    return place


def test_a_run_is_resumed_exactly(tied):
    whole = load_file(tied / "run" / "model.safetensors")
    torch.manual_seed(99)
    train(
        config(
            tied / "texts.txt",
            tied / "run",
            **TIED,
            save_steps=3,
            resume_from_checkpoint=str(tied / "run" / "checkpoint-3"),
        )
    )
    found = load_file(tied / "run" / "model.safetensors")
    assert found.keys() == whole.keys() and all(found[name].equal(tensor) for name, tensor in whole.items())


@pytest.mark.parametrize("changes", [{"freeze_encoder": True}, {"freeze_decoder": True}, {"lora": ["decoder"]}])
def test_a_part_that_is_frozen_has_its_own(tied, tmp_path, changes):
    before = weights_of(TextVAEPipeline.from_pretrained(tied / "run").model)
    settings = {"model_name_or_path": str(tied / "run"), **TIED, "learning_rate": 0.1, **changes}
    pipeline = train(config(tied / "texts.txt", tmp_path / "tuned", **settings))
    frozen = 0 if "freeze_encoder" in changes else 1
    now = weights_of(pipeline.model)
    assert now[frozen].equal(before[frozen]) and not now[1 - frozen].equal(before[1 - frozen])
    opened = TextVAEPipeline.from_pretrained(tmp_path / "tuned")
    assert opened.reconstruct(SENTENCES[:5]) == pipeline.reconstruct(SENTENCES[:5])


def test_new_pieces_are_shared_too(tied, tmp_path):
    corpus = write_lines(tmp_path / "new.txt", [f"{text} quixotic zebra" for text in SENTENCES])
    settings = {"model_name_or_path": str(tied / "run"), **TIED, "extend_tokenizer": 2}
    pipeline = train(config(corpus, tmp_path / "tuned", **settings))
    first, second = weights_of(pipeline.model)
    assert first is second and len(first) == len(pipeline.tokenizer)
