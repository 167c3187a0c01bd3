"""The file of an interrupted evaluation: what is read back, mended, begun and refused."""

import pytest
import torch

from textvae.errors import InputError
from textvae.evaluation.partial_results import append_values, fingerprint_of_model, fingerprint_of_texts, read_values

HEADER = {"seed": 0, "model": "abc"}


@pytest.fixture
def written(tmp_path):
    """A file with three values in two lines."""
    path = tmp_path / "values"
    assert read_values(path, HEADER) == {}
    append_values(path, {7: [0.1, 2.0], 3: [1e-30, -1.5]})
    append_values(path, {12: [93.25, 93.0]})
    return path


def test_what_was_written_is_read_bit_for_bit(written):
    assert read_values(written, HEADER) == {7: [0.1, 2.0], 3: [1e-30, -1.5], 12: [93.25, 93.0]}
    append_values(written, {1: [2.0, 0.0]})
    assert read_values(written, HEADER) == {7: [0.1, 2.0], 3: [1e-30, -1.5], 12: [93.25, 93.0], 1: [2.0, 0.0]}


def test_a_cut_anywhere_loses_the_lines_it_cuts_and_no_more(written):
    whole = written.read_bytes()
    ends = [place + 1 for place, byte in enumerate(whole) if byte == ord("\n")]
    lines = [{}, {7: [0.1, 2.0], 3: [1e-30, -1.5]}, {12: [93.25, 93.0]}]
    for length in range(len(whole) + 1):
        written.write_bytes(whole[:length])
        kept = {}
        for end, values in zip(ends, lines, strict=True):
            kept |= values if end <= length else {}
        assert read_values(written, HEADER) == kept
        append_values(written, {5: [4.5, 1.0]})
        assert read_values(written, HEADER) == {**kept, 5: [4.5, 1.0]}


@pytest.mark.parametrize("content", [b'{"seed": 1, "model": "abc"}\n[[7, 0.1]]\n', b"a text of the user's\n", b"\xff"])
def test_a_file_with_another_header_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "values"
    path.write_bytes(content)
    with pytest.raises(InputError, match="values belongs to another evaluation .*: delete it"):
        read_values(path, HEADER)
    assert path.read_bytes() == content


@pytest.mark.parametrize("line", [b"[]]", b"null", b"[3]", b"[[1, 2, 3]]", b'[["a", 1]]', b"[[1, []]]", b"\xff"])
def test_values_of_another_shape_are_refused_and_left_alone(written, line):
    written.write_bytes(content := written.read_bytes() + line + b"\n")
    with pytest.raises(InputError, match="values is damaged: delete it"):
        read_values(written, HEADER)
    assert written.read_bytes() == content


def test_a_place_where_no_file_can_be_is_refused(tmp_path):
    for path in (tmp_path / "no" / "where", tmp_path):
        with pytest.raises(InputError, match=f"cannot be saved in {path} .*: give another path"):
            read_values(path, HEADER)


def test_fingerprints_see_every_change():
    weights = {"a": torch.ones(2, 3), "b": torch.zeros((), dtype=torch.bfloat16)}
    changes = [
        weights,
        {**weights, "a": torch.ones(3, 2)},
        {**weights, "a": torch.tensor([[1.0, 1, 1], [1, 1, 1.0000001]])},
        {**weights, "b": torch.zeros((), dtype=torch.float16)},
        {"a": weights["a"], "c": weights["b"]},
    ]
    found = [fingerprint_of_model("config", change) for change in changes] + [fingerprint_of_model("other", weights)]
    assert len(set(found)) == 6 and found[0] == fingerprint_of_model("config", dict(weights))
    texts = [[[1, 2], [3]], [[1], [2, 3]], [[1, 2], [3], []], [[3], [1, 2]]]
    assert len({fingerprint_of_texts(each) for each in texts}) == 4
