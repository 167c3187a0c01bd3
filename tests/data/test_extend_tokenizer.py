"""A saved model and its tokenizer grow: what was there stays, what is new is used, and nothing is forgotten."""

import pytest
import torch
from tiny_runs import BERT, GRU, LLAMA, SENTENCES, save_decoder, save_encoder
from transformers import AutoTokenizer

from textvae import TextVAEConfig, TextVAEModel
from textvae.data.coverage import coverage
from textvae.data.extend_tokenizer import extend_tokenizer, kind_of
from textvae.data.normalization import normalize
from textvae.data.tokenization import load_tokenizer, train_word_tokenizer
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.data.unigram import train_tokenizer
from textvae.errors import InputError
from textvae.modeling.vocabulary import extend_model
from textvae.pipeline.pipeline import TextVAEPipeline

# With punctuation at the words: SentencePiece learns what stands in two words that differ.
OTHERS = [
    text
    for who in ("кошка", "the physician", "a naïve zebra")
    for what in ("спит", "diagnosed the zebra", "examined кошка", "walked")
    for how in ("today", "сегодня", "thoroughly", "with the physician")
    for text in (f"{who} {what} {how}.", f"{how}, {what}, {who}!")
]
GPTJ = {"model_type": "gptj", "n_embd": 16, "n_layer": 1, "n_head": 2, "rotary_dim": 4, "n_positions": 64}
ODD = ["", "<s>a</s> <0x41> кош<mask>", "👩‍👩‍👧 zebra\t▁ кошка", "日本 physicians"]


@pytest.fixture(scope="module", params=["nfc", "nfkc"])
def how(request):
    return request.param


@pytest.fixture(scope="module")
def old(how):
    return train_tokenizer(SENTENCES, 330, normalization=how)


@pytest.fixture(scope="module")
def new(old):
    return extend_tokenizer(old, OTHERS, 40)


def added(old, new):
    """The new pieces by their ids."""
    return dict(enumerate(new.convert_ids_to_tokens(range(len(old), len(new))), len(old)))


def without(texts, pieces):
    return [text for text in texts if not any(piece.replace("▁", " ") in f" {text}" for piece in pieces)]


# the tokenizer


def test_old_ids_stay_and_new_pieces_follow(old, new):
    assert len(old) + 5 < len(new) <= len(old) + 40
    assert new.convert_ids_to_tokens(range(len(old))) == old.convert_ids_to_tokens(range(len(old)))
    assert new.special_tokens_map == old.special_tokens_map


def test_texts_without_new_pieces_are_read_as_before(old, new):
    texts = without(SENTENCES, added(old, new).values())
    assert len(texts) > 20 and new(texts)["input_ids"] == old(texts)["input_ids"]
    assert sum(map(len, new(SENTENCES)["input_ids"])) <= sum(map(len, old(SENTENCES)["input_ids"]))


def test_new_pieces_are_used_and_save_tokens(old, new):
    assert set(added(old, new)) <= {index for ids in new(OTHERS)["input_ids"] for index in ids}
    before, after = coverage(old, OTHERS), coverage(new, OTHERS)
    assert before["byte_share"] > 0.3 and after["byte_share"] == 0
    assert after["tokens_per_word"] < 0.4 * before["tokens_per_word"]


def test_the_pieces_that_save_most_come_first(old, new):
    few = extend_tokenizer(old, OTHERS, 5)
    assert list(added(old, few).values()) == list(added(old, new).values())[:5]


def test_decoding_gives_every_text_back(old, new, how):
    for text in [*ODD, *OTHERS, *SENTENCES]:
        ids = new(text)["input_ids"]
        assert new.decode(ids, skip_special_tokens=True) == normalize(text, how)
        assert ids[-1] == 3 and min(ids[:-1], default=5) >= 5


def test_saved_opened_and_extended_again(old, new, tmp_path):
    new(OTHERS[:2], padding=True, truncation=True, max_length=5)  # what a call leaves in a tokenizer is saved with it
    new.save_pretrained(tmp_path)
    opened = load_tokenizer(str(tmp_path))
    assert opened(OTHERS)["input_ids"] == new(OTHERS)["input_ids"]
    twice = extend_tokenizer(opened, ["日本 の 猫", "猫 の 日本"] * 9, 10)
    assert len(twice) > len(new) and twice(OTHERS)["input_ids"] == new(OTHERS)["input_ids"]
    assert coverage(twice, ["日本 の 猫"])["byte_share"] == 0
    assert len(extend_tokenizer(twice, ["日本 の 猫"], 10)) == len(twice), "there is nothing more to learn"


def test_new_words_are_the_most_frequent(tmp_path):
    old = train_word_tokenizer(["the cat sat", "the dog"])
    old.save_pretrained(tmp_path)
    new = extend_tokenizer(load_tokenizer(str(tmp_path)), ["a bird saw the cat </s>", "a bird <unk>", "z z z y"], 3)
    assert added(old, new) == {8: "z", 9: "a", 10: "bird"}
    assert new("the a y </s>")["input_ids"] == [4, 9, 1, 1, 3]
    assert new.decode(new("the bird y")["input_ids"], skip_special_tokens=True) == "the bird <unk>"
    assert len(extend_tokenizer(new, ["cat y"], 3)) == len(new) + 1


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    directory = tmp_path_factory.mktemp("foreign")
    return [save_encoder(directory / "encoder"), save_decoder(directory / "decoder")]


def test_a_tokenizer_from_elsewhere_is_refused(foreign, old):
    more = train_tokenizer(SENTENCES, 330)
    more.add_tokens(["zebra"])
    for tokenizer in (*map(AutoTokenizer.from_pretrained, foreign), more):
        assert kind_of(tokenizer) is None
        with pytest.raises(InputError, match="that textvae trained") as error:
            extend_tokenizer(tokenizer, OTHERS, 5)
        assert "\n" not in str(error.value)
    assert (kind_of(old), kind_of(train_word_tokenizer(["a"]))) == ("sentencepiece", "word")


# the model


def build(tokenizer, decoder, **changes) -> TextVAEModel:
    torch.manual_seed(0)
    parts = {"encoder": BERT, "decoder": decoder}
    values = {name: {**part, "vocab_size": len(tokenizer)} for name, part in parts.items()}
    return TextVAEModel(TextVAEConfig(**values, latent_size=5, **changes)).eval()


def layers(model) -> dict[str, torch.Tensor]:
    """By name, all that has a row for each token."""
    head, words = model.decoder.get_output_embeddings(), model.to_bag_of_words
    found = {
        "encoder": model.encoder.get_input_embeddings().weight,
        "decoder": model.decoder.get_input_embeddings().weight,
        "head": head.weight,
        "head bias": head.bias,
        "words": None if words is None else words[-1].weight,
        "words bias": None if words is None else words[-1].bias,
    }
    return {name: value.detach().clone() for name, value in found.items() if value is not None}


@pytest.mark.parametrize("decoder", [GRU, {**GRU, "tie_word_embeddings": False}, GPTJ])
def test_new_rows_are_the_means_of_the_parts(old, new, decoder, shaken, tmp_path):
    model = shaken(build(old, decoder, bag_of_words=True))  # biases, too
    before = layers(model)
    extend_model(model, TokenizerPair(old), TokenizerPair(new))
    now = layers(model)
    assert len(now) == (6 if decoder is GPTJ else 5)
    whole_words = {index: piece[1:] for index, piece in added(old, new).items() if piece[0] in " ▁" and piece[1:]}
    assert len(whole_words) > 5
    for name, rows in now.items():
        assert len(rows) == len(new) and torch.equal(rows[: len(old)], before[name]), name
        for index, word in whole_words.items():
            expected = before[name][old(word)["input_ids"][:-1]].mean(0)
            torch.testing.assert_close(rows[index], expected, msg=f"{name}: {word}")
    assert model.config.encoder.vocab_size == model.config.decoder.vocab_size == len(new)
    TextVAEPipeline(model, new, 20).save_pretrained(tmp_path)
    opened = TextVAEPipeline.from_pretrained(tmp_path, device="cpu")
    assert {name: value.tolist() for name, value in layers(opened.model).items()} == {
        name: value.tolist() for name, value in now.items()
    }


def test_new_words_are_the_mean_of_all():
    old = train_word_tokenizer(["the cat sat", "the dog"])
    new = extend_tokenizer(old, ["a bird"], 2)
    model = build(old, GRU)
    before = layers(model)
    extend_model(model, TokenizerPair(old), TokenizerPair(new))
    for name, rows in layers(model).items():
        torch.testing.assert_close(rows[len(old) :], before[name].mean(0).expand(2, -1), msg=name)


def test_an_encoder_of_other_tokens_gets_its_own_rows(old, new):
    words = train_word_tokenizer(SENTENCES)
    model = build(old, LLAMA)
    model.encoder.resize_token_embeddings(len(words), mean_resizing=False)
    more = extend_tokenizer(words, OTHERS, 7)
    extend_model(model, TokenizerPair(old, words), TokenizerPair(new, more))
    assert (model.config.encoder.vocab_size, model.config.decoder.vocab_size) == (len(more), len(new))
    assert (len(layers(model)["encoder"]), len(layers(model)["decoder"])) == (len(more), len(new))


def test_rows_that_no_token_had_are_taken_first(old, new):
    """As in checkpoints whose embeddings are padded to a round number."""
    model = build(old, GRU)
    model.decoder.resize_token_embeddings(1000, mean_resizing=False)
    extend_model(model, TokenizerPair(old), TokenizerPair(new))
    rows = layers(model)["decoder"]
    index, piece = next((index, piece) for index, piece in added(old, new).items() if piece[0] in " ▁" and piece[1:])
    assert len(rows) == model.config.decoder.vocab_size == 1000
    torch.testing.assert_close(rows[index], rows[old(piece[1:])["input_ids"][:-1]].mean(0))


def test_nothing_new_changes_nothing(old):
    model = build(old, GRU)
    before = layers(model)
    extend_model(model, TokenizerPair(old), TokenizerPair(old))
    assert all(torch.equal(value, before[name]) for name, value in layers(model).items())


def nats_per_character(model, tokenizer, texts) -> torch.Tensor:
    """-ELBO, the mean of q(z|x) decoded."""
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    noise = torch.zeros(len(texts), model.config.latent_size)
    return model(**batch, noise=noise).loss * len(texts) / sum(map(len, texts))


@pytest.mark.slow
def test_the_likelihood_right_after_is_about_what_it_was(old, new):
    """Of texts as it was trained on that hold no new piece, of all of them, and of the others."""
    model = build(old, {**GRU, "embedding_size": 24, "hidden_size": 40}).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    untrained = nats_per_character(model, old, SENTENCES[::4]).item()
    for _ in range(60):
        optimizer.zero_grad()
        nats_per_character(model, old, SENTENCES[::4]).backward()
        optimizer.step()
    corpora = without(SENTENCES, added(old, new).values()), SENTENCES[::3], OTHERS[::3]
    with torch.no_grad():
        before = [float(nats_per_character(model.eval(), old, texts)) for texts in corpora]
        extend_model(model, TokenizerPair(old), TokenizerPair(new))
        after = [float(nats_per_character(model, new, texts)) for texts in corpora]
    assert before[0] < untrained / 2, f"it has learnt something: {untrained} to {before}"
    assert after[0] < 1.05 * before[0] and after[1] < 1.5 * before[1] and after[2] < before[2], (before, after)
