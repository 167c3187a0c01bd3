"""A model keeps in its config whether it was trained with noise."""

from tiny_runs import SENTENCES, config, write_lines

from textvae.training.build_model import build_model
from textvae.training.build_tokenizers import make_tokenizers
from textvae.training.setup import read_corpus


def test_a_model_knows_that_it_was_trained_with_noise(tmp_path):
    corpus = write_lines(tmp_path / "corpus.txt", SENTENCES)
    told = []
    for changes in ({}, {"word_dropout": 0.5}, {"noise_typos": 0.1}, {"noise_mask": 0.1}):
        run = config(corpus, tmp_path / "run", **changes)
        told.append(build_model(run, make_tokenizers(run, read_corpus(run))).config.trained_with_noise)
    assert told == [False, False, True, True]
