"""Two tokenizers: the same one is one; what they lack is added and said; a directory holds both, or one and no more."""

import logging

import pytest
from tiny_runs import LLAMA, SENTENCES, save_decoder, save_encoder
from transformers import AutoConfig, AutoModelForCausalLM

from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenizer_pair import TokenizerPair, are_same, load_tokenizers, save_tokenizers, tokenizers_of_parts
from textvae.errors import InputError


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    directory = tmp_path_factory.mktemp("parts")
    return save_encoder(directory / "encoder"), save_decoder(directory / "decoder")


def ids_of(tokenizer):
    return tokenizer(SENTENCES[:5])["input_ids"]


def test_two_tokenizers_are_a_pair_and_the_same_ones_are_one(parts, tmp_path):
    encoder, decoder = parts
    tokenizer, encoder_tokenizer = tokenizers_of_parts(encoder, decoder)
    assert (tokenizer.eos_token, encoder_tokenizer.eos_token) == ("<|endoftext|>", "[SEP]")
    again = save_encoder(tmp_path / "again")
    assert tokenizers_of_parts(encoder, again)[1] is None


def test_tokenizers_that_differ_in_anything_a_model_sees_are_not_the_same():
    one, same, longer, unmarked, other_end = (train_word_tokenizer(SENTENCES) for _ in range(5))
    longer.add_tokens(["more"])
    unmarked.backend_tokenizer.post_processor = None
    other_end.pad_token = "<s>"
    assert are_same(one, same)
    assert not any(are_same(one, other) for other in (longer, unmarked, other_end))


def test_a_tokenizer_without_padding_is_padded_with_its_eos(parts, caplog):
    with caplog.at_level(logging.WARNING):
        tokenizer, encoder_tokenizer = tokenizers_of_parts(*parts)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert encoder_tokenizer.pad_token == "[PAD]"
    (said,) = [record.getMessage() for record in caplog.records if record.name.startswith("textvae")]
    assert said == f"The tokenizer of {parts[1]} has no padding token, and is padded with <|endoftext|>."


def test_a_tokenizer_without_an_end_gets_one(parts, tmp_path, caplog):
    endless = save_decoder(tmp_path / "endless", bos_token="<go>")
    with caplog.at_level(logging.WARNING):
        tokenizer, _ = tokenizers_of_parts(parts[0], endless)
    assert tokenizer.eos_token == "</s>" and tokenizer.eos_token_id == len(tokenizer) - 1
    assert sum("gets </s>; no padding token" in record.getMessage() for record in caplog.records) == 1


def test_a_model_without_a_tokenizer_is_refused(parts, tmp_path):
    AutoModelForCausalLM.from_config(AutoConfig.for_model(**LLAMA, vocab_size=9)).save_pretrained(tmp_path / "bare")
    for model_type in ("bert", "gpt2", "t5"):  # of which the library makes a tokenizer that knows no word
        (tmp_path / model_type).mkdir()
        AutoConfig.for_model(model_type).save_pretrained(tmp_path / model_type)
    for name, told in [
        ("bare", "No tokenizer could be opened|no vocabulary"),  # by the version of transformers
        *((n, "no vocabulary") for n in ("bert", "gpt2", "t5")),
    ]:
        with pytest.raises(InputError, match=told) as error:
            tokenizers_of_parts(parts[0], str(tmp_path / name))
        assert "\n" not in str(error.value)


def test_a_directory_holds_both_or_one(parts, tmp_path):
    pair = tokenizers_of_parts(*parts)
    save_tokenizers(tmp_path, pair)
    opened = load_tokenizers(str(tmp_path))
    assert opened.decoder is opened[0] and opened.reading is opened.encoder is opened[1]
    assert all(ids_of(one) == ids_of(other) for one, other in zip(opened, pair, strict=True))
    assert opened[0].pad_token_id == pair[0].pad_token_id and opened[1].eos_token == "[SEP]"
    save_tokenizers(tmp_path, TokenizerPair(pair.decoder))  # over the other
    tokenizer, encoder_tokenizer = load_tokenizers(str(tmp_path))
    assert ids_of(tokenizer) == ids_of(pair[0]) and encoder_tokenizer is None
