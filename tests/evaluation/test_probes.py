"""Probes of vectors: classes that are apart are told, and those that are not, are not."""

import numpy as np
import pytest
import torch

from textvae.errors import InputError
from textvae.evaluation.probes import MAP_TITLES, TITLES, accuracies, map_scores, principal_components, word_vectors
from textvae.latents import PCAMap, UMAPMap

CLASSES = ["a", "b"] * 40


def vectors(apart: float, seed: int) -> np.ndarray:
    """(80, 6); the two classes differ in the first dimension alone."""
    found = np.random.default_rng(seed).standard_normal((80, 6))
    found[:, 0] += np.tile([-apart / 2, apart / 2], 40)
    return found


def test_classes_that_are_apart_are_told_and_others_are_not():
    apart = accuracies(vectors(30, 0), CLASSES, vectors(30, 1), CLASSES)
    assert apart == dict.fromkeys(TITLES, 1.0)
    same = accuracies(vectors(0, 0), CLASSES, vectors(0, 1), CLASSES)
    assert all(0.25 < share < 0.75 for share in same.values())


def test_principal_components_keep_distances_on_the_axes_of_the_first():
    own, other = vectors(3, 0), vectors(3, 1)
    components, others = principal_components(own, other, 6)
    rebuilt = np.linalg.norm(components[0] - others[5])
    assert rebuilt == pytest.approx(np.linalg.norm(own[0] - other[5]))
    assert principal_components(own, other, 2)[1] == pytest.approx(others[:, :2])


def test_words_tell_texts_apart():
    texts = ["a cup of tea", "tea or coffee", "the old dog", "a dog and a cat"] * 20
    own, other = word_vectors(texts, ["more tea", "the dog"], 3)
    assert own.shape == (80, 3)
    drinks = ["drink", "drink", "animal", "animal"] * 20
    assert accuracies(own, drinks, other, ["drink", "animal"])["neighbours_cosine"] == 1


def test_a_map_that_keeps_the_plane_is_trusted_and_one_that_mixes_all_is_not():
    own, other = (each * [1, 1, 0, 0, 0, 0] for each in (vectors(30, 0), vectors(30, 1)))
    points = torch.from_numpy(own)
    kept = map_scores(PCAMap.fit(points), own, CLASSES, other, CLASSES)
    assert kept == pytest.approx(dict.fromkeys(MAP_TITLES, 1.0))
    mixed = UMAPMap(points, torch.from_numpy(np.random.default_rng(2).standard_normal((80, 2))))
    lost = map_scores(mixed, own, CLASSES, other, CLASSES)
    assert 0.25 < lost["neighbours"] < 0.75 and 0.3 < lost["trustworthiness"] < 0.8
    with pytest.raises(InputError, match="more than 10 test texts"):
        map_scores(mixed, own, CLASSES, other[:10], CLASSES[:10])


def test_too_few_texts_or_classes_are_refused():
    with pytest.raises(InputError, match="two classes"):
        accuracies(vectors(0, 0), ["a"] * 80, vectors(0, 1), CLASSES)
    with pytest.raises(InputError, match="5 texts"):
        accuracies(vectors(0, 0)[:4], CLASSES[:4], vectors(0, 1), CLASSES)
