"""A teacher: z keeps the similarities that a sentence encoder sees, and the run stays what it was otherwise."""

import pytest
import torch
from tiny_runs import (
    SENTENCES,
    Killed,
    assert_same_checkpoint,
    assert_same_state,
    config,
    in_a_step,
    refusal,
    save_encoder,
    weights,
    write_lines,
)

from textvae.evaluation.judges import SentenceEncoder
from textvae.objectives.terms import similarity_difference
from textvae.training.checkpoints import checkpoints_in
from textvae.training.train import train

pytestmark = pytest.mark.slow

BRIEF = {"num_reconstructed_texts": 2, "num_importance_texts": 2, "num_importance_samples": 1}
NOISE = {"noise_drop": 0.3, "noise_shuffle": 2}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"))


def run(corpus, output_dir, **changes):
    return train(config(corpus, output_dir, **{**BRIEF, **changes}))


def test_the_means_come_to_see_what_the_teacher_sees(corpus, encoder, tmp_path):
    seen = SentenceEncoder(encoder, torch.device("cpu")).embed(SENTENCES)
    long = {"max_steps": 80, "learning_rate": 1e-2, "beta": 0.1}
    taught = run(corpus, tmp_path / "taught", **long, teacher=encoder, teacher_weight=1000.0)
    alone = run(corpus, tmp_path / "alone", **long)
    apart, apart_alone = (float(similarity_difference(vae.encode(SENTENCES), seen)) for vae in (taught, alone))
    assert apart < apart_alone / 2


@pytest.mark.parametrize("changes", [{}, {"gradient_accumulation_steps": 2, **NOISE}])
def test_killed_and_resumed_equals_uninterrupted(corpus, encoder, tmp_path, monkeypatch, changes):
    changes = {"max_steps": 6, "save_steps": 2, "logging_steps": 1, "teacher": encoder, **changes}
    run(corpus, tmp_path / "whole", **changes)
    with monkeypatch.context() as patch:
        in_a_step(patch, 3)
        with pytest.raises(Killed):
            run(corpus, tmp_path / "cut", **changes)
    run(corpus, tmp_path / "cut", **changes, resume_from_checkpoint="latest")
    last = checkpoints_in(tmp_path / "whole")[-1]
    assert_same_checkpoint(tmp_path / "cut" / last.name, last)
    assert_same_state(weights(tmp_path / "cut"), weights(tmp_path / "whole"))


def test_a_batch_is_embedded_as_a_corpus_is(encoder):
    sentences = SentenceEncoder(encoder, torch.device("cpu"))
    torch.testing.assert_close(sentences.embed_batch(SENTENCES[:9]), sentences.embed(SENTENCES)[:9])


def test_what_is_no_encoder_is_refused_before_anything_is_written(corpus, tmp_path):
    assert "nowhere" in refusal(config(corpus, tmp_path / "run", teacher=str(tmp_path / "nowhere")))
    assert not (tmp_path / "run").exists()
