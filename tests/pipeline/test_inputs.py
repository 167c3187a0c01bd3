"""What verbs read: texts in anything that holds them in order, z in anything that holds numbers, labels; no tables."""

import numpy as np
import pandas
import pyarrow
import pytest
import torch
from datasets import Dataset, DatasetDict
from tiny_pipelines import LABELS, LATENT_SIZE, TEXTS, pipeline
from torch import tensor

from textvae.errors import InputError
from textvae.training.config import TrainingConfig

COLUMNS = {"id": list(range(4)), "sentence": TEXTS}
CODES = [[0.5, -1.0, 2.0], [1.0, 0.25, -0.5]]


def refusal(call, *arguments, **options) -> str:
    with pytest.raises(InputError) as error:
        call(*arguments, **options)
    message = str(error.value)
    assert "\n" not in message and message.endswith(".") and len(message) <= 400
    return message


# texts


@pytest.mark.parametrize(
    ("table", "prefix"),
    [
        (COLUMNS, "data"),
        (pandas.DataFrame(COLUMNS), "data"),
        (pyarrow.table(COLUMNS), "data"),
        (Dataset.from_dict(COLUMNS), "data"),
        (Dataset.from_dict(COLUMNS).to_iterable_dataset(), "data"),
        (DatasetDict(test=Dataset.from_dict(COLUMNS)), "data['test']"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_table_is_refused_with_the_names_of_its_columns(table, prefix):
    vae = pipeline()
    for verb in (
        vae.encode,
        vae.reconstruct,
        vae.paraphrase,
        vae.score,
        lambda texts: vae.interpolate(TEXTS, texts),
    ):
        assert refusal(verb, table).endswith(f"by column: give {prefix}['id'] or {prefix}['sentence'].")


@pytest.mark.parametrize(
    "hold",
    [
        tuple,
        np.array,
        lambda texts: np.array(texts, dtype=object),
        pandas.Series,
        pandas.Index,
        lambda texts: Dataset.from_dict({"text": texts})["text"],
    ],
)
def test_texts_are_taken_from_whatever_holds_them_in_order(hold):
    vae = pipeline()
    assert torch.equal(vae.encode(hold(TEXTS)), vae.encode(TEXTS))
    assert vae.interpolate(hold(TEXTS), hold(TEXTS[::-1]), 2) == vae.interpolate(TEXTS, TEXTS[::-1], 2)
    options = {"num_importance_samples": 2, "num_prior_samples": 2}
    assert vae.evaluate(hold(TEXTS), **options) == vae.evaluate(TEXTS, **options)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (None, "texts is of type NoneType"),
        (5, "texts is of type int"),
        (b"pizza", "texts is of type bytes: decode it first"),
        ([b"pizza"], "Text 0 is of type bytes"),
        (["pizza", float("nan")], "Text 1 is of type float"),
        (torch.zeros(2, LATENT_SIZE), "Text 0 is of type Tensor"),
        (["pizza", "we \ud83d like"], "Text 1 holds half a character at position 3"),
        ("\ud83d", "Text 0 holds half a character at position 0"),
    ],
)
def test_what_is_no_text_is_refused(texts, reason):
    assert reason in refusal(pipeline().encode, texts)
    assert reason in refusal(pipeline().evaluate, [texts, "pizza"] if isinstance(texts, str) else texts)


# z


@pytest.mark.parametrize(
    "hold",
    [
        list,
        tuple,
        np.array,
        np.float32,
        lambda rows: [tensor(row) for row in rows],
        lambda rows: [np.array(row) for row in rows],
        lambda rows: pandas.Series([np.array(row) for row in rows]),
        lambda rows: tensor(rows, dtype=torch.float64),
        lambda rows: tensor(rows, requires_grad=True),
        lambda rows: np.array(rows)[::-1].copy()[::-1],
    ],
)
def test_z_is_taken_from_whatever_holds_numbers(hold):
    vae = pipeline()
    assert vae.decode(hold(CODES)) == vae.decode(tensor(CODES))
    assert vae.decode(hold(CODES)[0]) == vae.decode(tensor(CODES))[0]
    assert vae.decode(hold([])) == []


@pytest.mark.parametrize(
    ("latents", "reason"),
    [
        ("pizza", "latents must be (N, 3) or (3,), numbers of equal rows, not 'pizza'"),
        (None, "not None"),
        ([CODES[0], CODES[1][:2]], "numbers of equal rows"),
        ([["0.5", "1", "2"]], "numbers of equal rows"),
        (np.array(CODES) + 1j, "numbers of equal rows"),
        (torch.zeros(2, 5), "not (2, 5)"),
        (torch.zeros(0, 5), "not (0, 5)"),
        (torch.zeros(1, 2, 3), "not (1, 2, 3)"),
        (torch.tensor(3.0), "not ()"),
        ([CODES[0], [0.0, float("nan"), 0.0]], "z 1 is not finite"),
        (tensor([float("-inf"), 0.0, 0.0]), "z 0 is not finite"),
        (np.full((2, 3), 1e300), "z 0 is not finite, or far too large"),
        (torch.full((2, 3), 3e38), "z 0 is not finite, or far too large"),
        ([[10**400, 0, 0]], "numbers of equal rows"),
    ],
)
@pytest.mark.parametrize("do_sample", [False, True])
def test_what_is_no_z_is_refused(latents, reason, do_sample):
    assert reason in refusal(pipeline().decode, latents, do_sample=do_sample)


@pytest.mark.parametrize("temperature", [float("nan"), float("inf"), -0.5, 1e39, 1e25, "1", None, True])
def test_a_temperature_that_gives_no_z_is_refused(temperature):
    vae = pipeline()
    for verb in (lambda: vae.sample(3, temperature), lambda: vae.paraphrase(TEXTS, temperature=temperature)):
        assert refusal(verb).startswith("temperature is ")


# labels


def test_labels_of_numpy_and_pandas_are_taken():
    vae, names = pipeline("gru", LABELS), ["gloomy", "sunny", "sunny", "gloomy"]
    codes = vae.encode(TEXTS, label=names)
    for hold in (tuple, np.array, pandas.Series, pandas.Categorical):
        assert torch.equal(vae.encode(TEXTS, label=hold(names)), codes)
    numbered = pipeline("gru", ("0", "1"))
    ids = [0, 1, 1, 0]
    assert torch.equal(numbered.encode(TEXTS, label=np.array(ids)), numbered.encode(TEXTS, label=ids))
    assert torch.equal(numbered.encode(TEXTS, label=np.int64(1)), numbered.encode(TEXTS, label="1"))


@pytest.mark.parametrize("label", [2.5, b"sunny", {"sunny": 1}, [None] * 4, [["sunny"]] * 4, True, "x" * 500, object()])
def test_what_is_no_label_is_refused(label):
    assert "label" in refusal(pipeline("gru", LABELS).encode, TEXTS, label=label)


def test_evaluate_takes_labels_too():
    vae, names = pipeline("gru", LABELS), ["gloomy", "sunny", "sunny", "gloomy"]
    options = {"num_importance_samples": 2, "num_prior_samples": 2}
    report = vae.evaluate(Dataset.from_dict({"text": TEXTS, "label": names}), **options)
    assert vae.evaluate(TEXTS, label=names, **options) == report
    all_sunny = vae.evaluate(TEXTS, label="sunny", **options)
    assert all_sunny != report
    assert vae.evaluate(Dataset.from_dict({"text": TEXTS, "label": names}), label="sunny", **options) == all_sunny
    assert "the dataset no column 'label': add it, or give label" in refusal(vae.evaluate, TEXTS)
    assert "The label 'foggy' cannot be used" in refusal(vae.evaluate, TEXTS, label="foggy")
    assert "leave label out" in refusal(pipeline().evaluate, TEXTS, label="sunny")


# numbers

NUMBERS = {
    "encode": {"seed": 1, "batch_size": 2},
    "decode": {"seed": 1, "batch_size": 2},
    "reconstruct": {"seed": 1, "batch_size": 2},
    "sample": {"seed": 1, "batch_size": 2, "num_samples": 2, "temperature": 0.5},
    "interpolate": {"seed": 1, "batch_size": 2, "num_steps": 3},
    "paraphrase": {"seed": 1, "batch_size": 2, "num_return_sequences": 2, "num_candidates": 3, "temperature": 0.5},
    "score": {"seed": 1, "batch_size": 2, "num_samples": 2},
    "evaluate": {"seed": 1, "batch_size": 2, "num_importance_samples": 2, "num_prior_samples": 3},
}
READ = {"decode": [CODES], "sample": [], "interpolate": [TEXTS, TEXTS[::-1]]}


@pytest.mark.parametrize("verb", NUMBERS)
def test_numbers_of_numpy_are_those_of_python(verb):
    call, read = getattr(pipeline(), verb), READ.get(verb, [TEXTS])
    kinds = {int: np.int64, float: np.float64}
    given = {name: kinds[type(value)](value) for name, value in NUMBERS[verb].items()}
    first, second = call(*read, **NUMBERS[verb]), call(*read, **given)
    assert torch.equal(first, second) if verb == "encode" else first == second


@pytest.mark.parametrize(("verb", "name"), [(verb, name) for verb in NUMBERS for name in NUMBERS[verb]])
def test_numbers_are_checked_before_anything_else(verb, name):
    """A text that is none is not looked at."""
    call, unread = getattr(pipeline(), verb), [None] * len(READ.get(verb, [TEXTS]))
    for value in (-1, True, "many", float("nan"), 10**30, [2]):
        if name == "temperature" and value == 10**30:
            continue  # a number, though no z can be made with it
        assert refusal(call, *unread, **{name: value}).startswith(name)


def test_an_infinite_setting_is_told_to_be_finite():
    assert "it must be a finite number" in refusal(TrainingConfig, learning_rate=float("inf"))
    assert "it must be a finite number" in refusal(TrainingConfig, free_bits=float("inf"))
