"""Denoising: what closeness does, what holds exactly, what is said and refused."""

import logging

import pytest
import torch
from tiny_pipelines import LABELS, TEXTS, build

from textvae import InputError
from textvae.pipeline.denoise import say_untrained

MODELS = [("gru", ()), ("llama", ()), ("gru", LABELS), ("llama", LABELS)]


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: f"{model[0]}{'-labels' * bool(model[1])}")
def pipeline(request):
    built = build(*request.param)
    built.model.config.trained_with_noise = True
    return built


def label(pipeline) -> dict:
    return {"label": LABELS[1]} if pipeline.model.config.label_names else {}


def as_read(pipeline, texts):
    """The texts as the tokenizer has cut them."""
    ids = [row[:4] for row in pipeline.tokenizer(texts, add_special_tokens=False)["input_ids"]]
    return pipeline.tokenizer.batch_decode(ids)


def test_far_away_it_is_a_reconstruction_and_close_up_the_text_itself(pipeline):
    own = label(pipeline)
    options = {"num_beams": 2, "length_penalty": 0.0}
    assert pipeline.denoise(TEXTS, 0, **own, **options) == pipeline.reconstruct(TEXTS, **own, **options)
    short = as_read(pipeline, TEXTS)
    assert pipeline.denoise(short, 1e4, **own) == short
    assert pipeline.denoise(short[0], 1e4, **own) == short[0]


def test_batches_change_nothing(pipeline):
    own, expected = label(pipeline), pipeline.denoise(TEXTS, 0.5, **label(pipeline))
    for size in (1, 3):
        assert pipeline.denoise(TEXTS, 0.5, batch_size=size, **own) == expected
    torch.manual_seed(1)
    assert pipeline.denoise(TEXTS, 0.5, **own) == expected


def test_a_gap_is_read_as_masked_and_filled(pipeline):
    own, words = label(pipeline), as_read(pipeline, TEXTS)[0].split()
    filled = pipeline.denoise(" ".join([words[0], "___", *words[2:]]), 1e4, **own).split()
    assert "___" not in filled and len(filled) == len(words)
    assert [filled[0], *filled[2:]] == [words[0], *words[2:]]
    assert len(pipeline.denoise(["___", "___ ___"], **own)) == 2


def test_other_controls_are_used(pipeline):
    own = label(pipeline)
    several = pipeline.denoise(TEXTS, 0.1, num_return_sequences=3, num_beams=3, **own)
    assert [len(texts) for texts in several] == [3] * len(TEXTS)
    assert len(pipeline.denoise(TEXTS, 0.1, do_sample=True, seed=0, **own)) == len(TEXTS)
    assert len(pipeline.denoise(TEXTS, 0.1, num_beams=1, **own)) == len(TEXTS)
    assert pipeline.denoise([], **own) == []


def test_a_model_trained_without_noise_says_so_once(caplog):
    plain = build()
    say_untrained.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert len(plain.denoise(TEXTS, progress=False)) == len(TEXTS)
    assert sum("trained without noise" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.parametrize("closeness", [-1, float("nan"), "1", None, float("inf")])
def test_a_bad_closeness_is_refused(closeness):
    with pytest.raises(InputError, match="closeness is"):
        build().denoise(TEXTS, closeness)
