"""Any arguments: a verb gives what its docstring promises, or one sentence that says what is wrong."""

import functools
from collections.abc import Iterator

import numpy as np
import pandas
import pytest
import torch
from datasets import Dataset
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tiny_pipelines import LABELS, LATENT_SIZE, TEXTS, WORDS, build
from transformers import GenerationConfig

from textvae.errors import InputError

pytestmark = pytest.mark.slow

MODELS = [("gru", ()), ("llama", ()), ("gru", LABELS)]


@functools.cache
def pipeline(decoder: str, label_names: tuple[str, ...]):
    """A pipeline with a direction."""
    built = build(decoder, label_names)
    built.fit_direction("mood", TEXTS[:2], TEXTS[2:], label=label_names[0] if label_names else None)
    return built


# what a user may give

STRANGE = st.sampled_from(
    [None, True, 0, -1, 2.5, 10**30, float("nan"), float("inf"), -1e300, "", "3", "pizza", b"pizza", (), [], [[]], {}]
    + [{"a": ["pizza"]}, [None], [1], [2.5], ["a", 3], [["a"]], ["pizza", "\ud800"], "\ud800", "\t\n", object(), len]
    + [torch.tensor(3), torch.zeros(2, 5), torch.zeros(1, 2, 3), torch.full((2, 3), float("nan")), np.array("pizza")]
    + [np.zeros((2, 3), dtype=complex), np.zeros((0, 7)), pandas.DataFrame({"a": ["pizza"]}), pandas.NA, 1j]
    + [Dataset.from_dict({"a": ["pizza"]}), [[1.0, 2.0], [3.0]], [[1e300] * 3], torch.full((3,), 3e38), np.float32(3)]
)


def mostly(usual: st.SearchStrategy) -> st.SearchStrategy:
    """The usual, and once in a while something else."""
    return st.integers(0, 19).flatmap(lambda one: STRANGE if one == 7 else usual)


TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(" ".join) | st.text(min_size=1, max_size=5)
AS_LISTS = st.sampled_from([list, tuple, iter, np.array, pandas.Series, pandas.Index, lambda texts: texts])
COUNT = st.integers(1, 3) | st.integers(1, 3).map(np.int64)
SEED = st.none() | st.integers(0, 2**32 - 1) | st.integers(0, 255).map(np.uint8)
NUMBER = st.floats(0, 3) | st.floats(0, 3, width=32).map(np.float32) | st.integers(0, 3)
ANY_NUMBER = NUMBER | st.floats()
TOKENS = st.lists(st.integers(0, 12), min_size=1, max_size=3)
Z = st.lists(st.floats(-3, 3) | st.floats(width=32), min_size=LATENT_SIZE, max_size=LATENT_SIZE)
AS_LATENTS = st.sampled_from([list, np.array, torch.tensor, lambda rows: list(map(torch.tensor, rows))])
CONTROLS = {
    "num_beams": COUNT,
    "num_return_sequences": COUNT,
    "max_new_tokens": COUNT,
    "max_length": st.integers(2, 5),
    "min_length": st.integers(0, 5),
    "min_new_tokens": st.integers(0, 4),
    "do_sample": st.booleans() | st.just(np.True_),
    "use_cache": st.booleans(),
    "renormalize_logits": st.booleans(),
    "remove_invalid_values": st.booleans(),
    "early_stopping": st.sampled_from([True, False, "never"]),
    "top_k": st.integers(0, 20),
    "top_p": st.floats(0, 1) | st.just(1),
    "min_p": st.floats(0, 1),
    "typical_p": st.floats(0, 1),
    "epsilon_cutoff": st.floats(0, 1),
    "eta_cutoff": st.floats(0, 1),
    "temperature": ANY_NUMBER,
    "repetition_penalty": ANY_NUMBER,
    "length_penalty": ANY_NUMBER | st.floats(-20, 20),
    "no_repeat_ngram_size": st.integers(0, 3),
    "suppress_tokens": TOKENS,
    "begin_suppress_tokens": TOKENS,
    "forced_eos_token_id": st.just(3),
    "forced_bos_token_id": st.integers(0, 12),
    "eos_token_id": st.integers(0, 12) | TOKENS,
    "bad_words_ids": st.lists(TOKENS, min_size=1, max_size=2),
    "sequence_bias": st.just({(5,): 2.0}) | st.just([[[5, 6], -2.0]]),
    "exponential_decay_length_penalty": st.tuples(st.integers(0, 3), ANY_NUMBER),
    "stop_strings": st.sampled_from(["pizza", ["we", "the"], "e"]),
    "generation_config": st.builds(GenerationConfig, num_beams=st.integers(1, 3), do_sample=st.booleans()),
    "max_time": st.floats(0.5, 3),
    "nun_beams": COUNT,
    "output_scores": st.booleans(),
    "streamer": STRANGE,
}


@st.composite
def some_texts(draw, count: int | None = None):
    """One text, or `count` of them in anything that holds texts in order."""
    texts = draw(st.lists(TEXT, min_size=0 if count is None else count, max_size=3 if count is None else count))
    return draw(AS_LISTS)(texts)


@st.composite
def arguments(draw, verb: str, label_names: tuple[str, ...]):
    """Of one verb, by name, and how many texts or z there are; None if there is a single one."""
    count = draw(st.none() | st.integers(0, 3)) if verb != "evaluate" else draw(st.integers(1, 3))
    texts = TEXT if count is None else some_texts(count)
    rows = Z if count is None else st.lists(Z, min_size=count, max_size=count)
    own = {
        "encode": {"texts": texts, "sample": st.booleans()},
        "decode": {"latents": st.builds(lambda kind, z: kind(z), AS_LATENTS, rows)},
        "reconstruct": {"texts": texts},
        "sample": {"num_samples": COUNT, "temperature": ANY_NUMBER},
        "interpolate": {
            "start": texts,
            "end": texts,
            "num_steps": st.integers(2, 3),
            "path": st.sampled_from(["linear", "spherical"]),
        },
        "paraphrase": {
            "texts": texts,
            "num_return_sequences": COUNT,
            "temperature": ANY_NUMBER,
            "num_candidates": st.none() | COUNT,
            "min_distance": COUNT,
        },
        "edit": {"texts": texts, "name": st.just("mood"), "strength": ANY_NUMBER},
        "analogy": {"a": texts, "b": texts, "c": texts},
        "traverse": {
            "texts": texts,
            "dimension": st.integers(0, LATENT_SIZE - 1),
            "num_steps": st.integers(2, 3),
            "reach": ANY_NUMBER,
        },
        "score": {"texts": texts, "num_samples": COUNT},
        "evaluate": {
            "texts": texts,
            "num_importance_samples": COUNT,
            "num_importance_texts": st.none() | COUNT,
            "num_prior_samples": COUNT,
        },
    }[verb]
    given = {name: draw(mostly(usual)) for name, usual in own.items()}
    shared = {"seed": SEED, "batch_size": COUNT}
    if verb != "evaluate":
        shared["progress"] = st.just(False)
    if label_names or draw(st.integers(0, 29)) == 7:
        one, number = st.sampled_from(LABELS), 2 if verb == "sample" else 1 if count is None else count
        shared["label"] = one | st.lists(one, min_size=number, max_size=number)
    names = [name for name in shared if name in ("label", "progress") or draw(st.booleans())]
    given |= {name: draw(mostly(shared[name])) for name in names}
    if verb not in ("encode", "score", "evaluate"):
        names = draw(st.lists(st.sampled_from(sorted(CONTROLS.keys() - given.keys())), max_size=3, unique=True))
        given |= {name: draw(mostly(CONTROLS[name])) for name in names}
    return given, count


VERBS = ["encode", "decode", "reconstruct", "sample", "interpolate", "paraphrase", "score"]
VERBS += ["edit", "analogy", "traverse"]


@st.composite
def calls(draw):
    model = draw(st.sampled_from(MODELS))
    verb = draw(st.sampled_from(VERBS * 5 + ["evaluate"]))
    return model, verb, *draw(arguments(verb, model[1]))


def check_result(verb: str, result, given: dict, count: int | None) -> None:
    """What the docstring promises; `count` holds only if the texts are no strange ones."""
    if verb == "evaluate":
        assert isinstance(result, dict) and result["num_texts"] >= 2
    elif verb == "encode":
        assert result.dtype == torch.float32 and result.shape[-1] == LATENT_SIZE and result.isfinite().all()
        assert result.shape == ((LATENT_SIZE,) if count is None else (count, LATENT_SIZE))
    elif verb == "score":
        scores = [result] if count is None else result
        assert len(scores) == (count or 1) * (count != 0) and all(isinstance(score, float) for score in scores)
    elif verb == "paraphrase":
        found = [result] if count is None else result
        assert len(found) == (1 if count is None else count)
        assert all(len(texts) <= given["num_return_sequences"] and are_texts(texts) for texts in found)
    else:
        check_written(verb, result, given, count)


def check_written(verb: str, result, given: dict, count: int | None) -> None:
    several = given.get("num_return_sequences") or 1
    rows = given["num_samples"] if verb == "sample" else 1 if count is None else count
    written = [result] if verb != "sample" and count is None else result
    if verb in ("interpolate", "traverse"):
        assert all(len(way) == given["num_steps"] for way in written) and len(written) == rows
        written, rows = [text for way in written for text in way], rows * given["num_steps"]
    assert len(written) == rows
    assert are_texts(written) if several == 1 else all(len(each) == several and are_texts(each) for each in written)


def are_texts(texts) -> bool:
    return isinstance(texts, list) and all(type(text) is str for text in texts)


def real_count(verb: str, given: dict, count: int | None) -> int | None:
    """The number of texts that are there, where a strange one takes the place of those that were drawn."""
    name = {"decode": "latents", "interpolate": "start", "analogy": "a"}.get(verb, "texts")
    value = given.get(name)
    if verb == "decode":
        shape = np.shape(value if not isinstance(value, list) else [np.asarray(row) for row in value])
        return None if len(shape) == 1 and shape[0] else shape[0]
    if isinstance(value, str) or verb == "sample":
        return None
    return len(value) if isinstance(value, list | tuple | np.ndarray | pandas.Series | pandas.Index) else count


def try_calls(number: int, start: int | None = None) -> None:
    """Try so many calls, the same ones every time; or others, from a seed to start from."""
    quiet = settings(
        max_examples=number,
        derandomize=start is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    @quiet
    @given(calls())
    def attempt(call):
        model, verb, arguments, count = call
        try:
            result = getattr(pipeline(*model), verb)(**arguments)
            if isinstance(result, Iterator):  # as the texts were; a mistake is told where it is read
                rows = [*result]
                result = torch.stack(rows or [torch.empty(LATENT_SIZE)])[: len(rows)] if verb == "encode" else rows
        except InputError as error:
            message = str(error)
            assert "\n" not in message and len(message) <= 400 and message.endswith((".", "?")), message
        else:
            check_result(verb, result, arguments, real_count(verb, arguments, count))

    (attempt if start is None else seed(start)(attempt))()


@pytest.mark.parametrize("number", [200, pytest.param(2_000, marks=pytest.mark.families)])
def test_any_arguments_give_a_result_or_one_sentence(number):
    try_calls(number)
