"""The prior that a run leaves: of its training texts, in the directory of its model; none without z."""

import json
from dataclasses import replace

import pytest
import torch
from datasets import Dataset, IterableDataset
from tiny_runs import SENTENCES, config, write_lines

from textvae import TextVAEPipeline
from textvae.data.tokenize import tokenize_corpus
from textvae.latents import GaussianPrior
from textvae.training import fit_prior
from textvae.training.train import train


def run(tmp_path, texts=None, **changes):
    settings = config(write_lines(tmp_path / "texts.txt"), tmp_path / "run", max_steps=3, **changes)
    return train(settings if texts is None else replace(settings, train_file=None), texts)


def test_a_run_leaves_the_prior_of_its_training_texts(tmp_path):
    pipeline = run(tmp_path, {"train": SENTENCES[:150], "validation": SENTENCES[150:]})
    with torch.no_grad():
        codes = pipeline.encode(SENTENCES[:150])
    torch.testing.assert_close(pipeline.priors["gaussian"].mean[0], codes.mean(0))
    opened = TextVAEPipeline.from_pretrained(tmp_path / "run")
    assert opened.priors["gaussian"].scale.equal(pipeline.priors["gaussian"].scale)
    report = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert report["fitted_negative_elbo"] != report["negative_elbo"]


def test_a_language_model_has_none(tmp_path):
    assert run(tmp_path, latent_injection=[]).priors == {}
    assert not (tmp_path / "run" / "prior.safetensors").exists()


def test_of_a_large_corpus_some_texts_are_enough_and_of_each_label_as_many(monkeypatch):
    monkeypatch.setattr(fit_prior, "MOST_TEXTS", 20)
    labels = ["rare"] * 4 + ["frequent"] * 196
    rows = Dataset.from_dict({"text": SENTENCES, "label_id": [int(label == "rare") for label in labels]})
    seen = fit_prior.some_texts(rows, num_labels=2, seed=0)
    assert {text for text, label in zip(seen["text"], seen["label_id"], strict=True) if label} == set(SENTENCES[:4])
    assert sum(label == 0 for label in seen["label_id"]) == 10
    assert len(fit_prior.some_texts(rows, num_labels=0, seed=0)) == 20


def test_of_a_stream_the_first_texts_are_taken(tmp_path):
    pipeline = run(tmp_path, {"train": SENTENCES[:150], "validation": SENTENCES[150:]})
    expected = GaussianPrior.fit(*_posteriors(pipeline, SENTENCES[:150]))
    stream = IterableDataset.from_generator(lambda: ({"text": text} for text in SENTENCES[:150]))
    fit_prior.fit_prior(pipeline, tokenize_corpus(stream, pipeline.tokenizers, pipeline.max_length), seed=0)
    torch.testing.assert_close(pipeline.priors["gaussian"].scale, expected.scale)


@pytest.mark.slow
def test_each_label_of_a_run_has_the_prior_of_its_texts(tmp_path):
    table = {"text": SENTENCES, "label": ["dot", "mark"] * 100}
    pipeline = run(tmp_path, {"train": table, "validation": table}, label_column="label")
    for label, texts in (("dot", SENTENCES[::2]), ("mark", SENTENCES[1::2])):
        center = pipeline.encode(texts, label=label).mean(0)
        row = pipeline.model.config.label_names.index(label)
        torch.testing.assert_close(pipeline.priors["gaussian"].mean[row], center)


def _posteriors(pipeline, texts):
    read = pipeline.tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        posterior = pipeline.model.encode(read["input_ids"], read["attention_mask"])
    return posterior.mean, posterior.stddev
