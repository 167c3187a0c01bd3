"""The model card: what the Hub reads of it, whom it quotes, and texts that would break it."""

import pytest
from datasets import Dataset
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from tiny_runs import SENTENCES, config, write_lines

from textvae import train
from textvae.report.model_card import as_markdown, as_text
from textvae.report.samples import Samples

pytestmark = pytest.mark.slow

TEXTS = [
    *("one\ntwo\r\nthree", "```\ncode", "- no item", "    no code", "# no title", "a | b"),
    *("<b>bold</b> *and* [link](http://a.b)", "1. &amp; \\ _x_", "+ 2) -"),
]


def shown(markdown: str) -> list[tuple[str, str]]:
    """(kind, text) of every block as a reader sees it."""
    tokens = MarkdownIt().parse(markdown)
    pairs = [(before, token) for before, token in zip(tokens, tokens[1:], strict=False) if token.type == "inline"]
    return [(before.type, "".join(child.content for child in token.children)) for before, token in pairs]


def test_texts_are_shown_as_they_are_and_break_no_list():
    blocks = shown(as_markdown(Samples(TEXTS[0], TEXTS, quotes=True)))
    assert [kind for kind, _ in blocks] == ["paragraph_open"] * (1 + len(TEXTS))
    assert [text for _, text in blocks[1:]] == [" ⏎ ".join(text.lstrip().splitlines()) for text in TEXTS]
    assert len(as_text(Samples("title", TEXTS, quotes=True)).splitlines()) == 2 + len(TEXTS)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(changes, texts) → the card of a run of one step with samples."""

    def run(texts=None, **changes) -> ModelCard:
        directory = tmp_path_factory.mktemp("run")
        given = config(write_lines(directory / "mine.txt"), directory / "out", max_steps=1, **changes)
        given.model_card_samples = True
        if texts is not None:
            given.train_file = None
        train(given, texts)
        return ModelCard.load(directory / "out" / "README.md")

    return run


@pytest.mark.parametrize("texts", [None, Dataset.from_dict({"text": SENTENCES})])
def test_a_card_quotes_texts_of_the_user_only_if_asked(run, texts):
    card, quoting = run(texts), run(texts, card_examples=True)
    assert "**Prior samples**" in card.text and not any(text in card.text for text in SENTENCES)
    assert any(text in quoting.text for text in SENTENCES)


def test_a_card_says_what_is_known_and_nothing_else(run):
    trained = {"tokenizer": "sentencepiece", "vocab_size": 320}
    card = run(**trained)
    assert card.data.language is card.data.license is card.data.base_model is card.data.datasets is None
    assert "NFC, with every space kept" in card.text and "NFKC" not in card.text
    assert "NFKC" in run(**trained, normalization="nfkc").text
    assert "NFKC" not in (plain := run(tokenizer="word").text) and "NFC" not in plain
