"""infill writes what Python gives, whatever the parts, and goes on where it was interrupted."""

import json

import pytest
from tiny_pipelines import WORDS

GAPS = [f"{WORDS[i % 10]} ___" if i % 3 else f"___ {WORDS[i % 10]} ___" for i in range(9)]
LINES = "\n".join(GAPS)
FEW = {"num_return_sequences": 2, "num_beams": 2, "max_gap_tokens": 2, "num_rounds": 2, "num_latents": 2}
FLAGS = [word for name, value in FEW.items() for word in (f"--{name}", value)]
PARTS = ["--batch_size", 2, "--device", "cpu"]


@pytest.mark.parametrize("name", ["gru", "llama"])
def test_infill_is_that_of_python(textvae, models, opened, name):
    found = opened[name].infill(GAPS, **FEW)
    done = textvae("infill", models[name], *FLAGS, *PARTS, stdin=LINES)
    assert done.code == 0, done.err
    assert done.lines == [
        line for text, own in zip(GAPS, found, strict=True) for line in (text, *(f"  {o}" for o in own))
    ]
    rows = textvae("infill", models[name], *FLAGS, *PARTS, "--format", "tsv", stdin=LINES).lines
    assert rows == [
        "text\tfilled_1\tfilled_2",
        *("\t".join([text, *own]) for text, own in zip(GAPS, found, strict=True)),
    ]


def test_an_interrupted_run_goes_on(textvae, models, opened, tmp_path):
    file = tmp_path / "filled.jsonl"
    words = ["infill", models["gru"], *FLAGS, *PARTS, "--output", file]
    textvae(*words, stdin="\n".join(GAPS[:3]))
    assert textvae(*words, "--resume", stdin=LINES) == ("", "", 0)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["filled"] for row in rows] == opened["gru"].infill(GAPS, **FEW)


def test_flags_are_arguments_and_mistakes_one_sentence(textvae, models, opened):
    done = textvae("infill", models["gru"], "we [x] pizza", "--marker", "[x]", "--allow_empty", *FLAGS)
    found = opened["gru"].infill("we [x] pizza", marker="[x]", allow_empty=True, **FEW)
    assert done.lines == ["we [x] pizza", *(f"  {own}" for own in found)]
    labelled = textvae("infill", models["labels"], "we ___", "--label", "sunny", *FLAGS)
    assert labelled.lines[1:] == [f"  {own}" for own in opened["labels"].infill("we ___", label="sunny", **FEW)]
    for given, told in ((["we like pizza"], "has no gap"), (["we ___", "--num_beams", 0], "num_beams is 0")):
        done = textvae("infill", models["gru"], *given)
        assert done.code == 2 and told in done.err and done.err.count("\n") == 1
