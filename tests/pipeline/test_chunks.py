"""Verbs that read an iterator: the results of a list, one after another, from as few texts as they need."""

import itertools
import random
from collections.abc import Iterator

import pytest
import torch
from tiny_pipelines import LABELS, LATENT_SIZE, WORDS, build

from textvae import InputError
from textvae.pipeline.chunks import in_parts

pytestmark = pytest.mark.slow

NUMBER = random.Random(0)
TEXTS = [" ".join(NUMBER.choices(WORDS, k=NUMBER.randint(1, 4))) for _ in range(20)]  # in parts of 1, 16 and 3
VERBS = {
    "encode": {},
    "encode drawn": {"sample": True, "seed": 3},
    "encode with std": {"return_std": True},
    "reconstruct": {},
    "reconstruct drawn": {"do_sample": True, "seed": 1},
    "paraphrase": {"num_return_sequences": 2, "num_candidates": 3, "seed": 2, "return_scores": True},
    "edit": {"name": "taste", "strength": 2},
    "denoise": {},
    "score": {"num_samples": 2},
    "score terms": {"num_samples": 2, "return_terms": True},
    "detect": {"num_tokens": 1},
    "traverse": {"dimension": 1, "num_steps": 3},
}
KINDS = [("llama", ()), ("gru", LABELS)]


@pytest.fixture(scope="module", params=KINDS, ids=str)
def case(request):
    """A pipeline that has fitted something, and a label for each text if there are labels."""
    decoder, labels = request.param
    vae, one = build(decoder, labels), labels[0] if labels else None
    vae.fit_direction("taste", TEXTS[:9], TEXTS[9:], label=one)
    vae.fit_detector(TEXTS, TEXTS, score="reconstruction_per_token", label=one)
    return vae, [LABELS[len(text) % 2] for text in TEXTS] if labels else None


def flat(result) -> list:
    """The numbers and strings of a result."""
    if isinstance(result, torch.Tensor):
        return result.flatten().tolist()
    return [one for part in result for one in flat(part)] if isinstance(result, tuple | list) else [result]


@pytest.mark.parametrize("kind", VERBS)
def test_an_iterator_gives_what_the_list_gives(case, kind):
    (vae, label), verb = case, kind.split()[0]
    call, options = getattr(vae, verb), {"batch_size": 1, "label": label} | VERBS[kind]
    found, expected = call(iter(TEXTS), **options), call(TEXTS, **options)
    assert isinstance(found, Iterator)
    if kind == "encode with std":
        expected = list(zip(*expected, strict=True))
    for one, other in itertools.zip_longest(found, expected):
        assert flat(one) == flat(other)


def test_neighbours_of_an_iterator_are_those_of_the_list(case):
    vae, label = case
    index = vae.index(TEXTS[:5], label=label and label[0])
    found = vae.neighbours(iter(TEXTS), index, 2, batch_size=1, label=label)
    assert isinstance(found, Iterator) and list(found) == vae.neighbours(TEXTS, index, 2, batch_size=1, label=label)


def test_gaps_of_an_iterator_are_filled_as_those_of_a_list(case):
    vae, label = case
    gapped = [f"___ {text.split()[0]}" for text in TEXTS[:5]]
    options = {"max_gap_tokens": 1, "num_beams": 2, "batch_size": 1, "label": label and label[:5]}
    for own in ({}, {"return_scores": True}):
        found = vae.infill(iter(gapped), **options, **own)
        assert isinstance(found, Iterator) and list(found) == vae.infill(gapped, **options, **own)
    found = vae.infill(iter([gapped[0], "no gap"]), **options | {"label": label and label[:2]})
    assert len(next(found)) > 1
    with pytest.raises(InputError, match="gap"):
        next(found)


def test_z_may_be_an_iterator_too(case):
    vae, label = case
    label = label and label[0]
    z, options = vae.encode(TEXTS, label=label), {"batch_size": 1, "label": label}
    for own in ({}, {"return_scores": True}, {"do_sample": True, "seed": 1}):
        expected = list(itertools.chain(vae.decode(z[:1], **options, **own)))
        assert list(itertools.islice(vae.decode(iter(z), **options, **own), 1)) == expected
    again = vae.decode(vae.encode(iter(TEXTS), **options), **options)
    assert list(again) == vae.reconstruct(TEXTS, label=label)


@pytest.mark.parametrize("kind", ["encode", "reconstruct", "score"])
def test_it_reads_no_more_than_it_needs(case, kind):
    (vae, label), read = case, []
    endless = (read.append(text) or text for text in itertools.cycle(TEXTS))
    label = label and label[0]
    found = getattr(vae, kind.split()[0])(endless, batch_size=1, label=label, **VERBS[kind])
    assert not read
    next(found)
    assert len(read) == 1
    next(found)
    assert len(read) == 1 + 16


def test_what_cannot_be_used_is_said_when_it_is_reached():
    vae = build()
    found = vae.encode(iter([*TEXTS[:5], " "]), batch_size=1)
    assert next(found).shape == (LATENT_SIZE,)
    with pytest.raises(InputError, match="Text 5 is blank"):
        list(found)
    with pytest.raises(InputError, match="Text 3 is of type int"):
        list(vae.score(iter([*TEXTS[:3], 4]), batch_size=1, num_samples=1))
    with pytest.raises(InputError, match="num_samples"):
        vae.score(iter(TEXTS), num_samples=0)
    with pytest.raises(InputError, match="z 0 is not finite"):
        next(vae.decode(iter([[float("nan")] * LATENT_SIZE])))
    with pytest.raises(InputError, match="z 1 is not finite"):
        list(vae.decode(iter([[0.0] * LATENT_SIZE, [float("nan")] * LATENT_SIZE]), batch_size=1))
    with pytest.raises(InputError, match="gives numbers"):
        list(vae.decode(iter([0.0] * LATENT_SIZE), batch_size=LATENT_SIZE))


def test_labels_of_an_iterator_are_read_along():
    vae = build("gru", LABELS)
    labels = itertools.cycle(LABELS)
    found = list(vae.reconstruct(iter(TEXTS), label=labels, batch_size=1))
    assert found == vae.reconstruct(TEXTS, label=list(LABELS) * 10, batch_size=1)
    with pytest.raises(InputError, match="2 labels for 16"):
        list(vae.reconstruct(iter(TEXTS), label=iter(LABELS + LABELS[:1]), batch_size=1))
    for wrong in (list(LABELS) * 11, dict.fromkeys(LABELS)):
        with pytest.raises(InputError, match="more labels than|by column"):
            list(vae.reconstruct(iter(TEXTS), label=wrong, batch_size=1))
    for wrong in (None, "cloudy", 1.5):
        with pytest.raises(InputError, match="label"):
            next(vae.reconstruct(iter(TEXTS), label=wrong))


def test_texts_that_were_cut_are_counted_once(caplog):
    vae, long = build(), ["we like pizza and pizza and pizza"] * 5
    for texts in (long, iter(long)):
        caplog.clear()
        list(vae.encode(texts, batch_size=1))
        assert [record.getMessage() for record in caplog.records] == ["5 of 5 texts were cut to 5 tokens"]


def test_the_first_part_is_one_batch():
    assert [len(part) for part in itertools.islice(in_parts(itertools.count(), 3), 3)] == [3, 48, 48]
    assert list(in_parts([], 3)) == [] and list(in_parts([1, 2], 3)) == [[1, 2]]
