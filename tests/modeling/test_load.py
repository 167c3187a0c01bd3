"""Two pretrained models as one: their weights as they were, room for an EOS, and vocabularies that fit."""

import pytest
import torch
from tiny_runs import save_decoder, save_encoder
from transformers import AutoModel, AutoModelForCausalLM

from textvae.data.tokenizer_pair import TokenizerPair, tokenizers_of_parts
from textvae.errors import InputError
from textvae.modeling.load import join_parts
from textvae.pipeline.pipeline import TextVAEPipeline


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("parts") / "encoder")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return save_decoder(tmp_path_factory.mktemp("parts") / "decoder")


@pytest.fixture(scope="module")
def endless(tmp_path_factory):
    return save_decoder(tmp_path_factory.mktemp("parts") / "endless", bos_token="<go>")


def test_the_parts_keep_their_weights_and_the_decoder_its_special_ids(encoder, decoder):
    pair = tokenizers_of_parts(encoder, decoder)
    model = join_parts(encoder, decoder, pair, latent_size=5)
    for part, saved in (
        (model.encoder, AutoModel.from_pretrained(encoder)),
        (model.decoder, AutoModelForCausalLM.from_pretrained(decoder)),
    ):
        values = saved.state_dict()
        assert all(torch.equal(value, values[name]) for name, value in part.state_dict().items())
    ends = {pair.decoder.convert_tokens_to_ids("<|endoftext|>")}
    assert {model.config.pad_token_id, model.config.bos_token_id, model.config.eos_token_id} == ends


def test_an_eos_that_was_added_is_the_mean_of_the_others(encoder, endless, tmp_path):
    pair = tokenizers_of_parts(encoder, endless)
    model = join_parts(encoder, endless, pair, latent_size=5, bag_of_words=True)
    old = AutoModelForCausalLM.from_pretrained(endless)
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        before, now = (getattr(part, layer)().weight for part in (old, model.decoder))
        assert len(now) == len(before) + 1 == len(pair.decoder)
        assert torch.equal(now[:-1], before)
        torch.testing.assert_close(now[-1], before.mean(0))
    assert model.config.eos_token_id == len(pair.decoder) - 1
    assert model.bag_of_words(torch.zeros(1, 5), torch.tensor([[model.config.eos_token_id]])).isfinite().all()
    pipeline = TextVAEPipeline(model, pair.decoder, 20, pair.encoder)
    pipeline.save_pretrained(tmp_path)
    opened = TextVAEPipeline.from_pretrained(tmp_path, device="cpu")
    assert opened.score(["we like pizza ."]) == pipeline.score(["we like pizza ."])


def test_a_tokenizer_of_another_model_is_refused(encoder, decoder):
    pair = tokenizers_of_parts(encoder, decoder)
    pair.decoder.add_tokens(["one", "two"])
    with pytest.raises(InputError, match="tokens and .*decoder' .* embeddings"):
        join_parts(encoder, decoder, pair)
    good = tokenizers_of_parts(encoder, decoder)
    with pytest.raises(InputError, match="tokens and .*encoder' .* embeddings"):
        join_parts(encoder, decoder, TokenizerPair(good.decoder))
    model = join_parts(encoder, decoder, good)
    with pytest.raises(InputError, match="tokens and the bert"):
        TextVAEPipeline(model, good.decoder)
    with pytest.raises(InputError, match="Texts end with"):
        TextVAEPipeline(model, good.encoder, encoder_tokenizer=good.encoder)
    good.encoder.eos_token = None
    with pytest.raises(InputError, match="tokenizer of the bert has no eos_token: set it"):
        TextVAEPipeline(model, good.decoder, encoder_tokenizer=good.encoder)


def test_parts_that_are_not_there_are_refused(encoder, decoder):
    with pytest.raises(InputError, match="There is no directory") as error:
        join_parts(f"{encoder}/nowhere", decoder, tokenizers_of_parts(encoder, decoder))
    assert "\n" not in str(error.value)
