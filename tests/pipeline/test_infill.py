"""Infilling: given words stay with every kind of tokenizer and decoder, gaps are filled, and nothing else matters."""

import re

import pytest
import torch
from tiny_pipelines import DECODERS, LABELS, WORDS, build, pipeline
from tiny_runs import BERT, GRU, LLAMA, SENTENCES, save_decoder, save_encoder

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.data.tokenization import load_tokenizer
from textvae.data.unigram import train_tokenizer
from textvae.pipeline.codec import Codec
from textvae.pipeline.score import noise_of_all, terms

TEXTS = ["we ___ pizza", "___ movie ,", "the ___", "___ and ___"]
FEW = {"num_beams": 3, "max_gap_tokens": 2, "progress": False}


@pytest.fixture(scope="module", params=[(kind, names) for kind in DECODERS for names in ((), LABELS)], ids=str)
def vae(request):
    return pipeline(*request.param)


def labelled(vae) -> dict:
    return {"label": [LABELS[i % 2] for i in range(len(TEXTS))]} if vae.model.config.label_names else {}


def is_filled(text: str, filled: str, fewest: int = 1) -> bool:
    """Whether every given character is there, in order, and each gap has so many characters, of which none is a space
    at its ends."""
    inside = r"(?:\S|\S.*\S)" if fewest else r"(?:|\S|\S.*\S)"
    return re.fullmatch(inside.join(map(re.escape, text.split("___"))), filled, re.DOTALL) is not None


def test_given_words_stay_and_gaps_are_filled(vae):
    found = vae.infill(TEXTS, **FEW, **labelled(vae))
    assert all(1 < len(some) <= 5 for some in found)
    for text, some in zip(TEXTS, found, strict=True):
        assert len({*some}) == len(some) and all(is_filled(text, one) for one in some)
        assert all(word in WORDS for one in some for word in one.split())
        longest = max(len(one.split()) for one in some)
        assert longest <= min(4, len(text.split()) + text.count("___"))  # of 5 tokens one is EOS


def test_neither_batch_nor_other_texts_change_anything(vae):
    own = labelled(vae)
    found = vae.infill(TEXTS, **FEW, **own)
    for size in (1, 3):
        assert vae.infill(TEXTS, batch_size=size, **FEW, **own) == found
    first = {name: labels[0] for name, labels in own.items()}
    assert vae.infill(TEXTS[0], **FEW, **first) == found[0]
    state = torch.get_rng_state()
    assert vae.infill(TEXTS, **FEW, **own) == found and torch.get_rng_state().equal(state)


def test_a_score_is_the_bound_at_the_posterior_mean_and_ranks(vae):
    own = labelled(vae)
    scored = vae.infill(TEXTS, return_scores=True, **FEW, **own)
    assert [[text for text, _ in some] for some in scored] == vae.infill(TEXTS, **FEW, **own)
    codec = Codec(vae.model, vae.tokenizers, progress=False)
    for place, some in enumerate(scored):
        texts, scores = zip(*some, strict=True)
        label = own["label"][place] if own else None
        found = terms(codec, codec.read(texts, label)[0], noise_of_all(codec, 1), False)
        bounds = [-one.reconstruction_from_mean - one.kl for one in found]
        assert list(scores) == pytest.approx(bounds, abs=1e-3) == sorted(scores, reverse=True)


def test_more_rounds_and_z_find_nothing_worse(vae):
    own = labelled(vae)
    few, many = (vae.infill(TEXTS, return_scores=True, num_rounds=rounds, **FEW, **own) for rounds in (1, 3))
    for a, b in zip(few, many, strict=True):
        assert len(a) <= len(b) and all(y >= x - 1e-3 for (_, x), (_, y) in zip(a, b, strict=False))


def test_saved_and_opened_it_fills_the_same(vae, tmp_path):
    vae.save_pretrained(tmp_path)
    opened = TextVAEPipeline.from_pretrained(tmp_path, device="cpu")
    assert opened.infill(TEXTS, **FEW, **labelled(vae)) == vae.infill(TEXTS, **FEW, **labelled(vae))


def test_a_gap_is_empty_only_if_asked():
    vae = build()
    with torch.no_grad():  # a model that ends at once
        vae.model.decoder.lm_head.weight[3] += 50 * torch.sign(vae.model.decoder.lm_head.weight[3])
    every = {"num_beams": 12, "max_gap_tokens": 1, "num_return_sequences": 99}
    text = "we ___ pizza"
    assert "we pizza" not in vae.infill(text, **every)
    found = vae.infill(text, allow_empty=True, **every)
    assert "we pizza" in found
    assert {*found} == {"we pizza", *(f"we {word} pizza" for word in WORDS)}
    assert "and we" in vae.infill("___ and ___ we ___", allow_empty=True, num_return_sequences=999, num_beams=99)


def test_every_way_is_found_and_the_best_is_the_likeliest():
    vae = build("llama")
    found = vae.infill("we ___ pizza ___", 200, max_gap_tokens=1, num_beams=100, num_rounds=1)
    assert {*found} == {f"we {a} pizza {b}" for a in WORDS for b in WORDS}


def pieces_pipeline(decoder: str = "gru", place=None) -> TextVAEPipeline:
    """With SentencePiece or, given a directory, two tokenizers: word pieces are read and bytes written."""
    if place is None:
        tokenizer, reading = train_tokenizer(SENTENCES, 400), None
    else:
        tokenizer = load_tokenizer(save_decoder(place / "decoder", bos_token="<s>", eos_token="</s>", pad_token="<p>"))
        reading = load_tokenizer(save_encoder(place / "encoder"))
    part = {"gru": GRU, "llama": LLAMA}[decoder]
    torch.manual_seed(1)
    config = TextVAEConfig(
        encoder={**BERT, "vocab_size": len(reading or tokenizer)},
        decoder={**part, "vocab_size": len(tokenizer)},
        latent_size=4,
        initializer_range=0.5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return TextVAEPipeline(TextVAEModel(config), tokenizer, max_length=60, encoder_tokenizer=reading)


STRANGE = [
    "I never ___ the new movie!",
    "___, my sister ___ pizza.",
    "un___able (___) music",
    "the  ___ dog\n___\ttalked ",
    "我___披萨 ___é",
    "___ " * 3 + "garden",
    "<s> ___ </s>",
]


@pytest.mark.parametrize("decoder", ["gru", "llama"])
@pytest.mark.parametrize("kind", ["pieces", "bytes"])
def test_every_given_character_stays_with_every_tokenizer(tmp_path, decoder, kind):
    vae = pieces_pipeline(decoder, tmp_path if kind == "bytes" else None)
    options = {"num_beams": 6, "max_gap_tokens": 3, "num_rounds": 1}
    for text, some in zip(STRANGE, vae.infill(STRANGE, **options), strict=True):
        assert some, text
        assert all(is_filled(text, one) and "\ufffd" not in one for one in some), (text, some)
    for text, some in zip(STRANGE[:3], vae.infill(STRANGE[:3], allow_empty=True, **options), strict=True):
        given = [part.strip() for part in text.split("___")]
        assert all(re.fullmatch(".*".join(map(re.escape, given)), one) for one in some)


def test_another_marker_and_one_text():
    vae = build()
    assert vae.infill("we [gap] pizza", marker="[gap]", **FEW) == vae.infill("we ___ pizza", **FEW)
    assert len(vae.infill("we ___ pizza", 2, **FEW)) == 2
    assert vae.infill([], **FEW) == []


@pytest.mark.parametrize(
    ("text", "given", "told"),
    [
        ("we like pizza", {}, "has no gap: write ___"),
        ("we ___ pizza", {"marker": "[gap]"}, r"write \[gap\]"),
        ("___ ___", {}, "no word beside its gaps"),
        ("we like ___ the movie", {}, "needs 6 tokens, and the model writes 5"),
        ("  ", {}, "blank"),
        (["we ___", 3], {}, "string"),
        ("we ___", {"marker": " "}, "marker is ' '"),
        ("we ___", {"marker": 3}, "marker is 3"),
        ("we ___", {"num_return_sequences": 0}, "num_return_sequences is 0"),
        ("we ___", {"num_beams": 1.5}, "num_beams is 1.5"),
        ("we ___", {"num_latents": 0}, "num_latents is 0"),
        ("we ___", {"num_rounds": 0}, "num_rounds is 0"),
        ("we ___", {"max_gap_tokens": 0}, "max_gap_tokens is 0"),
        ("we ___", {"allow_empty": "no"}, "allow_empty"),
        ("we ___", {"label": "sunny"}, "no labels"),
    ],
)
def test_what_cannot_be_filled_is_refused(text, given, told):
    with pytest.raises(InputError, match=told):
        build().infill(text, **given)
