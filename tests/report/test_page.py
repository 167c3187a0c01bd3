"""The page: it has every section that a kind of model can have, needs nothing else, and shows texts as they are."""

import json
import re

import pytest
import torch
from datasets import Dataset
from tiny_pipelines import LABELS, TEXTS, WORDS, build

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.report.page import PageSettings, page, write_page

SEEN = [f"{a} {b} {c}" for a in WORDS[:4] for b in WORDS[3:7] for c in WORDS[6:]]
FEW = PageSettings(num_texts=24, num_dimensions=2, num_unusual=3, num_importance_samples=2, num_prior_samples=4)
OF_ALL = ["Measures", "Training"]
OF_Z = [
    *("What each dimension holds", "Texts from the prior", "Texts written back", "Walks", "Paraphrases"),
    *("Traversals of the most active dimensions", "A map of z", "The most unusual texts"),
]


def language_model() -> TextVAEPipeline:
    pipeline = build()
    settings = pipeline.model.config.to_dict() | {"latent_injection": "none"}
    return TextVAEPipeline(TextVAEModel(TextVAEConfig(**settings)).eval(), pipeline.tokenizer)


def with_column(name: str, values: list[str]) -> Dataset:
    return Dataset.from_dict({"text": SEEN, name: [values[i % len(values)] for i in range(len(SEEN))]})


KINDS = {
    "gru": (build, SEEN, OF_Z),
    "llama": (lambda: build("llama"), SEEN, OF_Z),
    "labels": (lambda: build(label_names=LABELS), with_column("label", [*LABELS]), OF_Z),
    "pairs": (lambda: build("llama"), with_column("target", TEXTS), OF_Z),
    "language model": (language_model, SEEN, ["Texts from the prior", "The most unusual texts"]),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Kind of model → its page."""
    place = tmp_path_factory.mktemp("pages")
    for name, (make, texts, _) in KINDS.items():
        write_page(make(), texts, place / f"{name}.html", FEW)
    return {name: (place / f"{name}.html").read_text(encoding="utf-8") for name in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_section_is_there_and_nothing_else_is_needed(written, kind):
    found, own = written[kind], OF_ALL + KINDS[kind][2]
    assert re.findall("<h2>(.*)</h2>", found) == own
    assert re.findall('href="(.*?)"', found) == [f"#s{number}" for number in range(1, len(own) + 1)]
    assert not re.search(r"https?:|//\w|\bsrc=|@import|url\(|<link", found)
    assert len(found.encode()) < 100_000
    assert "no history.jsonl" in found


def test_what_each_section_shows(written):
    found = written["gru"]
    assert found.count('class="bar"') == 3 and found.count('class="dot c0"') == FEW.num_texts
    assert len(re.findall("<h3>Dimension ", found)) == FEW.num_dimensions
    assert len(re.findall("nats per token</span>", found)) == FEW.num_unusual
    assert all(f'class="key c{number}">{name}' in written["labels"] for number, name in enumerate(LABELS))
    assert "have no likelihood" in written["pairs"] and "nats per token</span>" not in written["pairs"]


def test_the_same_seed_gives_the_same_page(written, tmp_path):
    pipeline = build()
    torch.manual_seed(9)
    for seed in (0, 1):
        write_page(pipeline, SEEN, tmp_path / f"{seed}.html", PageSettings(**{**vars(FEW), "seed": seed}))
    assert (tmp_path / "0.html").read_text(encoding="utf-8") == written["gru"]
    assert (tmp_path / "1.html").read_text(encoding="utf-8") != written["gru"]


def test_texts_are_shown_as_they_are():
    strange = ["<b>we</b> & pizza", '"movie" <script>alert(1)</script>', "we like {{ name }} pizza"]
    found = page(build(), Dataset.from_dict({"text": strange * 5}), FEW)
    assert "<b>we</b>" not in found and "alert(1)</script>" not in found
    assert "&lt;b&gt;we&lt;/b&gt; &amp; pizza" in found and "we like {{ name }} pizza" in found


def test_a_detector_gives_p_values():
    pipeline = build()
    pipeline.fit_detector(SEEN, SEEN, score="reconstruction_per_token")
    found = page(pipeline, Dataset.from_dict({"text": [*SEEN[:20], "like like like like"]}), FEW)
    shown = re.findall(r"p = (0\.\d+), score", found)
    assert len(shown) == FEW.num_unusual and shown == sorted(shown)
    assert "by its detector (reconstruction per token)" in found and "nats per token</span>" not in found


def test_curves_are_those_of_the_history_of_the_run(tmp_path):
    build().save_pretrained(tmp_path)
    steps = [{"step": n, "reconstruction": 9.0 / n, "kl": 0.5 * n, "beta": 0.1} for n in range(1, 9)]
    held_out = [{"step": n, "validation_kl": 1.5 * n} for n in (4, 8)]
    lines = [json.dumps(row) for row in [*steps, *held_out]]
    lines += ['{"step": 5, "reconstruction": null, "kl": 3}', '{"step": 9, "re']
    (tmp_path / "history.jsonl").write_bytes("\n".join(lines).encode() + b"\xff")
    (tmp_path / "metrics.json").write_text('{"steps": 8, "training_seconds": 120.0}')
    found = page(TextVAEPipeline.from_pretrained(tmp_path), Dataset.from_dict({"text": SEEN}), FEW)
    curves = found.split('<section id="s2">')[1].split("</section>")[0]
    assert "8 steps in 2 minutes" in curves
    assert re.findall("<figcaption>(.*?)</figcaption>", curves)[1:] == [
        "−log p(x∣z), nats per text",
        "KL, nats per text",
        "β",
    ]
    assert curves.count("<polyline") == 5 and "held-out, step 8: 12<" in curves


def test_measures_without_a_time_are_those_of_another_program(tmp_path):
    build().save_pretrained(tmp_path)
    (tmp_path / "history.jsonl").write_text('{"step": 1, "kl": 0.5}\n{"step": 2, "kl": 0.7}')
    (tmp_path / "metrics.json").write_text('{"steps": 8}')
    assert "By steps." in page(TextVAEPipeline.from_pretrained(tmp_path), Dataset.from_dict({"text": SEEN}), FEW)


def test_few_texts_still_make_a_page():
    found = page(build(), Dataset.from_dict({"text": SEEN[:2]}), FEW)
    assert "too few texts for a walk" in found and re.findall("<h2>(.*)</h2>", found) == OF_ALL + OF_Z


def test_what_cannot_be_written_is_refused(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(InputError, match="add --overwrite"):
        write_page(build(), SEEN, path, FEW)
    assert path.read_text() == "mine"
    with pytest.raises(InputError, match="at least 2 texts"):
        write_page(build(), SEEN[:1], path, FEW, overwrite=True)
    with pytest.raises(InputError, match="no directory"):
        write_page(build(), SEEN, tmp_path / "no" / "page.html", FEW)
    assert path.read_text() == "mine" and [one.name for one in tmp_path.iterdir()] == ["page.html"]
    write_page(build(), SEEN, path, FEW, overwrite=True)
    assert path.read_text().startswith("<!doctype html>")
