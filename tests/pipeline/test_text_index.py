"""Neighbours of texts in a corpus: exact, the same in any batch, saved with its texts, refused for another model."""

import json

import pytest
import torch
from datasets import Dataset
from tiny_pipelines import LABELS, WORDS, build

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.pipeline import Neighbour, TextIndex

pytest.importorskip("faiss")
KINDS = [("gru", ()), ("llama", ()), ("gru", LABELS), ("llama", LABELS)]
CORPUS = [f"{a} {b}" for a in WORDS for b in WORDS[:7]]
M = len(CORPUS)
TEXTS = ["we like pizza", "the movie , not your garden", "pizza"]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def case(request):
    """A pipeline, the index of a corpus, and the arguments of its verbs."""
    vae, options = build(*request.param), {"label": LABELS[1]} if request.param[1] else {}
    return vae, vae.index(CORPUS, **options), options


def rows(found: list[list[Neighbour]]) -> list[list[int]]:
    return [[one.row for one in own] for own in found]


def test_the_nearest_are_those_of_the_greatest_cosine(case):
    vae, index, options = case
    found = vae.neighbours(TEXTS, index, 4, **options)
    cosines = torch.cosine_similarity(
        vae.encode(TEXTS, **options).unsqueeze(1), vae.encode(CORPUS, **options), dim=2
    )  # (N, M)
    best = cosines.topk(4).values
    torch.testing.assert_close(torch.tensor([[one.similarity for one in own] for own in found]), best)
    assert all(CORPUS[one.row] == one.text for own in found for one in own)


def test_a_text_of_the_corpus_is_its_own_nearest(case):
    vae, index, options = case
    for text, own in zip(CORPUS, vae.neighbours(CORPUS, index, 1, **options), strict=True):
        assert own[0].similarity == pytest.approx(1, abs=1e-5) and own[0].similarity <= 1
        assert own[0].text == text
    alone = vae.neighbours(CORPUS[5], index, **options)
    assert isinstance(alone[0], Neighbour) and (len(alone), alone[0].row) == (5, 5)


def test_neither_batches_nor_parts_change_the_result(case, monkeypatch):
    vae, index, options = case
    monkeypatch.setattr("textvae.pipeline.chunks.BATCHES", 2)
    in_parts = vae.index(CORPUS, batch_size=5, **options)
    expected = vae.neighbours(TEXTS, index, M, **options)
    for found in (
        vae.neighbours(TEXTS, in_parts, 99, batch_size=1, **options),
        vae.neighbours(TEXTS, CORPUS, M, **options),
    ):
        for one, other in zip(found, expected, strict=True):
            assert {near.row for near in one} == {*range(M)}
            own, same = ({near.row: near.similarity for near in each} for each in (one, other))
            assert own == pytest.approx(same, abs=1e-5)


def test_a_corpus_is_a_list_a_table_or_a_dataset(case):
    vae, index, options = case
    expected = rows(vae.neighbours(TEXTS, index, **options))
    table = {"number": range(M), "text": CORPUS}
    for corpus in (table, Dataset.from_dict({**table, "number": list(range(M))}), tuple(CORPUS)):
        assert rows(vae.neighbours(TEXTS, corpus, **options)) == expected


def test_it_is_saved_with_its_texts(case, tmp_path):
    vae, index, options = case
    index.save(tmp_path / "index")
    expected = vae.neighbours(TEXTS, index, **options)
    opened = TextIndex.load(tmp_path / "index")
    assert len(opened) == M and vae.neighbours(TEXTS, opened, **options) == expected
    assert vae.neighbours(TEXTS, tmp_path / "index", **options) == expected
    opened.save(tmp_path / "index")  # over itself
    assert vae.neighbours(TEXTS, str(tmp_path / "index"), **options) == expected
    assert {path.name for path in (tmp_path / "index").iterdir()} == {"index.json", "index.faiss", "texts"}


def test_one_in_another_precision_is_of_the_same_model(tmp_path):
    vae = build()
    vae.save_pretrained(tmp_path)
    in_bf16 = TextVAEPipeline.from_pretrained(tmp_path, dtype="bfloat16")
    assert in_bf16.neighbours(CORPUS[3], vae.index(CORPUS))[0].similarity > 0.99


def test_that_of_another_model_is_refused(tmp_path):
    index, other = build().index(CORPUS), build()
    with torch.no_grad():
        other.model.posterior.to_mean.bias += 1.0
    with pytest.raises(InputError, match="of another model"):
        other.neighbours(TEXTS, index)
    index.save(tmp_path)
    with pytest.raises(InputError, match="of another model"):
        build("gru", LABELS).neighbours(TEXTS, tmp_path, label=LABELS[0])


def test_a_damaged_one_does_not_open(tmp_path):
    build().index(CORPUS).save(tmp_path)
    content = (tmp_path / "index.json").read_text()

    def refused(told: str) -> None:
        with pytest.raises(InputError, match=told):
            TextIndex.load(tmp_path)

    for wrong in (
        "{}",
        json.dumps(json.loads(content) | {"crc32": 0}),
        json.dumps(json.loads(content) | {"fingerprint": "x"}),
    ):
        (tmp_path / "index.json").write_text(wrong)
        refused("is damaged")
    (tmp_path / "index.json").write_text(content)
    (texts,) = (tmp_path / "texts").glob("*.arrow")
    kept = texts.read_bytes()
    texts.write_bytes(kept.replace(b"garden", b"gurden"))
    refused("is damaged")
    texts.write_bytes(kept)
    vectors = (tmp_path / "index.faiss").read_bytes()
    (tmp_path / "index.faiss").write_bytes(vectors[:-1] + bytes([vectors[-1] ^ 1]))
    refused("is damaged")
    (tmp_path / "index.faiss").unlink()
    refused("is damaged")
    (tmp_path / "index.json").unlink()
    refused("holds no index")


def test_what_cannot_be_used_is_refused(tmp_path):
    vae = build()
    with pytest.raises(InputError, match="holds no text"):
        vae.index([])
    with pytest.raises(InputError, match="Text 1 is blank"):
        vae.index(["pizza", " "])
    with pytest.raises(InputError, match="not 'corpus.txt': give what textvae.data.load_texts"):
        vae.index("corpus.txt")
    with pytest.raises(InputError, match="no column 'text'"):
        vae.index({"words": CORPUS})
    with pytest.raises(InputError, match="holds no index"):
        vae.neighbours(TEXTS, tmp_path / "absent")
    with pytest.raises(InputError, match="num_neighbours"):
        vae.neighbours(TEXTS, CORPUS, 0)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        vae.index(CORPUS).save(tmp_path / "file")
    assert vae.neighbours([], CORPUS) == []
    settings = vae.model.config.to_dict() | {"latent_injection": "none"}
    language_model = TextVAEPipeline(TextVAEModel(TextVAEConfig(**settings)), vae.tokenizer)
    with pytest.raises(InputError, match="without z"):
        language_model.index(CORPUS)


def test_it_never_replaces_what_is_no_index(tmp_path):
    index = build().index(CORPUS)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="holds other files"):
        index.save(tmp_path)
    assert (tmp_path / "texts" / "mine.txt").read_text() == "precious"
    index.save(tmp_path / "a" / "new")
    index.save(tmp_path / "a" / "new")
    assert len(TextIndex.load(tmp_path / "a" / "new")) == M
