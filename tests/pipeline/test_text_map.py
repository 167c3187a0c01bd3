"""Maps of texts: the same in any batch, new texts in the same places, written as a table and as a page."""

import json
import re

import numpy as np
import pandas
import pytest
import torch
from tiny_pipelines import LABELS, WORDS, build

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.latents import PCAMap, UMAPMap
from textvae.pipeline import TextMap
from textvae.pipeline.map_page import map_figure

KINDS = [("gru", ()), ("llama", ()), ("gru", LABELS), ("llama", LABELS)]
TEXTS = [f"{a} {b}" for a in WORDS for b in WORDS[:7]]
CLASSES = [text.split()[0] for text in TEXTS]
NASTY = ["<b>bold</b> & </script><script>alert(1)</script>", "%{x} {y} 100%", "猫 " * 300, 'a "quoted" \\ text']


@pytest.fixture(scope="module", params=KINDS, ids=str)
def case(request):
    """A pipeline, a map, and the arguments of its verbs."""
    vae, options = build(*request.param), {"label": LABELS[1]} if request.param[1] else {}
    return vae, vae.map(TEXTS, **options), options


def test_it_is_the_plane_of_the_latents_and_new_texts_have_their_places_in_it(case):
    vae, own, options = case
    latents = vae.encode(TEXTS, **options)
    torch.testing.assert_close(own.points, PCAMap.fit(latents).transform(latents), rtol=1e-3, atol=1e-4)
    new = vae.map(TEXTS[9:3:-1], own.projection, **options)
    assert new.texts == TEXTS[9:3:-1] and new.projection is own.projection
    torch.testing.assert_close(new.points, own.points[range(9, 3, -1)], rtol=1e-3, atol=1e-4)
    assert vae.map(TEXTS[0], own.projection, **options).points.shape == (1, 2)
    assert own.classes == ([LABELS[1]] * len(TEXTS) if options else None)


def test_batch_size_changes_nothing(case, monkeypatch):
    vae, own, options = case
    monkeypatch.setattr("textvae.pipeline.chunks.BATCHES", 2)
    again = vae.map(TEXTS, batch_size=4, progress=False, **options)
    torch.testing.assert_close(again.points, own.points, rtol=1e-3, atol=1e-4)


def test_new_texts_have_places_in_a_layout(case):
    vae, _, options = case
    latents = vae.encode(TEXTS, **options)
    layout = UMAPMap(latents, latents[:, :2])
    torch.testing.assert_close(vae.map(TEXTS, layout, **options).points, latents[:, :2], rtol=1e-3, atol=1e-3)


def test_the_table_holds_texts_places_and_classes(tmp_path):
    own = build().map(TEXTS, classes=CLASSES)
    own.save(tmp_path / "map.parquet")
    table = pandas.read_parquet(tmp_path / "map.parquet")
    assert list(table.columns) == ["text", "x", "y", "label"]
    assert list(table["text"]) == TEXTS and list(table["label"]) == CLASSES
    np.testing.assert_array_equal(table[["x", "y"]].to_numpy(), own.points)
    assert list(build().map(TEXTS).table().columns) == ["text", "x", "y"]
    assert [path.name for path in tmp_path.iterdir()] == ["map.parquet"]


def test_the_page_needs_nothing_else_and_runs_nothing_of_the_texts(tmp_path):
    pytest.importorskip("plotly")
    projection = build().map(TEXTS).projection
    TextMap(NASTY, torch.randn(4, 2), projection, NASTY).save(tmp_path / "map.html")
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert "alert(1)</" not in page and "<b>bold" not in page and 'name="viewport"' in page
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    figure = map_figure(NASTY, torch.randn(4, 2), NASTY, None)
    shown = {trace.text[0] for trace in figure.data}
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; &lt;/script&gt;&lt;script&gt;alert(1)&lt;/<br>" not in page
    assert all(max(map(len, text.split("<br>"))) <= 100 and len(text) < 800 for text in shown)
    assert len(figure.data) == 4 and json.loads(figure.to_json())["layout"]["showlegend"]


def test_the_points_of_the_page_are_those_of_the_map():
    pytest.importorskip("plotly")
    own = build().map(TEXTS, classes=CLASSES)
    figure = map_figure(own.texts, own.points, own.classes, None)
    drawn = {(x, y): (text, one.name) for one in figure.data for x, y, text in zip(one.x, one.y, one.text, strict=True)}
    for text, label, (x, y) in zip(TEXTS, CLASSES, own.points.tolist(), strict=True):
        assert drawn[np.float32(x), np.float32(y)][1] == label or TEXTS.count(text) > 1
    assert sum(len(one.x) for one in figure.data) == len(TEXTS)
    many = map_figure(TEXTS, own.points, [str(i) for i in range(len(TEXTS))], None)
    assert not many.layout.showlegend


@pytest.mark.parametrize(
    ("texts", "options", "told"),
    [
        (["pizza"], {}, "needs 2 texts, and there are 1"),
        ([], {}, "there are 0"),
        ("corpus.txt", {}, "not 'corpus.txt': give a list"),
        (TEXTS[:15], {"method": "umap"}, "needs 16 texts, and there are 15"),
        (TEXTS, {"method": "uma"}, "did you mean 'umap'"),
        (TEXTS, {"method": 3}, "give one of pca, umap"),
        (TEXTS, {"classes": CLASSES[1:]}, "one for each of the 70 texts"),
        (TEXTS, {"classes": "pizza"}, "one for each of the 70 texts"),
        (TEXTS, {"seed": -1}, "seed"),
        (["pizza", " "], {}, "Text 1 is blank"),
        (TEXTS, {"method": PCAMap.fit(torch.eye(4))}, r"must be \(N, 4\)"),
    ],
)
def test_what_has_no_map_is_refused(texts, options, told):
    with pytest.raises(InputError, match=told):
        build().map(texts, **options)


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    own = build().map(TEXTS)
    with pytest.raises(InputError, match="another ending than .parquet or .html"):
        own.save(tmp_path / "map.png")
    settings = build().model.config.to_dict() | {"latent_injection": "none"}
    with pytest.raises(InputError, match="without z"):
        TextVAEPipeline(TextVAEModel(TextVAEConfig(**settings)), build().tokenizer).map(TEXTS)
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs the package plotly: pip install 'textvae\[map\]'"):
        own.save(tmp_path / "map.html")
    assert not list(tmp_path.iterdir())


def test_a_long_text_without_spaces_is_shown_up_to_a_limit():
    from textvae.pipeline.map_page import _shown

    assert _shown("汉" * 500).count("汉") == 398 and _shown("汉" * 400).count("汉") == 400


def test_classes_may_be_a_generator_and_a_projection_says_what_it_cannot_write(tmp_path):
    vae = build()
    found = vae.map(TEXTS, classes=(text[:1] for text in TEXTS))
    assert found.classes == [text[:1] for text in TEXTS]
    with pytest.raises(OSError, match="absent"):
        found.projection.save(tmp_path / "absent" / "map.safetensors")
    found.projection.save(tmp_path / "map.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["map.safetensors"]
