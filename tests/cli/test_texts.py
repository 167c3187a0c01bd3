"""Texts and vectors in: arguments, files, standard input, and what is no text."""

import gzip
import io
import os

import numpy as np
import pytest
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors
from tiny_pipelines import LATENT_SIZE, TEXTS


def test_arguments_come_before_files_and_blank_rows_are_left_out(textvae, models, opened, tmp_path, caplog):
    with gzip.open(tmp_path / "texts.txt.gz", "wt") as file:
        file.write(f"{TEXTS[1]}\n\n{TEXTS[2]}\n")
    (tmp_path / "texts.jsonl").write_text(f'{{"text": "{TEXTS[3]}"}}\n')
    words = [TEXTS[0], "--file", tmp_path / "*.gz", "--file", tmp_path / "texts.jsonl"]
    assert textvae("reconstruct", models["gru"], *words).lines == opened["gru"].reconstruct(TEXTS)
    assert "1 rows with a blank were left out" in caplog.text


def test_flags_may_stand_before_texts(textvae, models, opened):
    words = [TEXTS[0], "--num_beams", 2, *TEXTS[1:]]
    assert textvae("reconstruct", models["gru"], *words).lines == opened["gru"].reconstruct(TEXTS, num_beams=2)


def test_standard_input_is_read_part_by_part(textvae, models, opened):
    lines, expected = "\r\n".join(TEXTS), opened["gru"].reconstruct(TEXTS)
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):  # the last two with a byte-order mark
        assert textvae("reconstruct", models["gru"], stdin=lines.encode(encoding)).lines == expected


BAD = {
    "empty": (b"", "Standard input is empty"),
    "binary": (b"\x00\x01\x02", "Standard input is binary"),
    "no UTF-8": (b"pizza\ncaf\xe9\n", "Standard input, line 2 is not UTF-8"),
    "blank line": (b"pizza\n \npizza\n", "Standard input, line 2 is blank"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("command", ["score", "decode", "interpolate"])
def test_standard_input_that_is_no_text_is_refused(textvae, models, command, kind):
    given, told = BAD[kind]
    lines = {"decode": b"1 2 3", "interpolate": b"we\tpizza"}.get(command, b"pizza")
    done = textvae(command, models["gru"], stdin=given.replace(b"pizza", lines))
    assert (done.code, done.out) == (2, "") and done.err.startswith("error: ") and told in done.err
    assert done.err.count("\n") == 1


class Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


def test_a_terminal_is_not_waited_for(textvae, models):
    done = textvae("score", models["gru"], stdin="pizza\n", kind=Terminal)
    assert done.code == 2 and "--file" in done.err


MISTAKES = {
    "no model": (["score", "nowhere", "pizza"], "nowhere"),
    "blank argument": (["score", "{model}", "pizza", " "], "Text 2 is blank"),
    "no such file": (["score", "{model}", "--file", "nowhere.txt"], "nowhere.txt"),
    "no such column": (["score", "{model}", "--file", "{table}"], "--text_column one of start, stop"),
    "no such end": (["interpolate", "{model}", "--file", "{table}"], "--end_column one of start, stop"),
    "one end": (["interpolate", "{model}", "pizza"], "give two texts"),
    "unknown flag": (["score", "{model}", "pizza", "--num_sample", "3"], "'--num_samples'"),
    "abbreviated flag": (["reconstruct", "{model}", "pizza", "--num_beam", "3"], "'--num_beams'"),
    "one text too many": (["interpolate", "{model}", "a", "b", "c"], "'c' is one argument too many"),
    "unknown command": (["scores", "{model}"], "did you mean 'score'?"),
    "no model given": (["sample"], "MODEL: see textvae sample --help"),
    "wrong kind": (["sample", "{model}", "--num_samples", "few"], "num_samples must be"),
    "too small": (["sample", "{model}", "--num_samples", "0"], "num_samples is 0"),
    "no such device": (["sample", "{model}", "--device", "abacus"], "abacus"),
    "no such prior": (["sample", "{model}", "--prior", "raw"], "did you mean"),
    "narrow vectors": (["decode", "{model}", "--file", "{narrow}"], "latents must be"),
    "a NaN": (["decode", "{model}", "--file", "{nan}"], "row 2 is no vector of finite numbers"),
    "three axes": (["decode", "{model}", "--file", "{axes}"], "it must be (N, Z)"),
    "uneven lines": (["decode", "{model}"], "row 2 has 2 numbers, and the first 3"),
    "no axis": (["decode", "{model}", "--file", "{scalar}"], "holds an array (), it must be (N, Z)"),
    "complex numbers": (["decode", "{model}", "--file", "{complex}"], "array of complex64"),
    "a pipe": (["score", "{model}", "--file", "{pipe}"], "is no regular file"),
    "cut vectors": (["decode", "{model}", "--file", "{cut}"], "cut.safetensors is damaged"),
    "no vectors": (["decode", "{model}", "--file", "{table}"], "unknown ending"),
    "no such vectors": (["decode", "{model}", "--file", "nowhere.npy"], "There is no file nowhere.npy"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(textvae, models, tmp_path, monkeypatch, kind):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").write_text("start,stop\nwe,pizza\n")
    zeros = np.zeros((3, LATENT_SIZE), np.float32)
    np.save("narrow.npy", zeros[:, 1:])
    np.save("nan.npy", np.where(np.arange(3)[:, None] == 1, np.nan, zeros))
    np.save("axes.npy", zeros[None])
    np.save("complex.npy", zeros.astype(np.complex64))
    save_file({"latents": np.float32(0)[...]}, "scalar.safetensors")
    save_file({"latents": zeros}, "whole.safetensors")
    os.mkfifo("pipe.txt")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "whole.safetensors").read_bytes()[:-4])
    names = {name: f"{name}.npy" for name in ("narrow", "nan", "axes")}
    names |= {"complex": "complex.npy", "scalar": "scalar.safetensors", "pipe": "pipe.txt"}
    names |= {"model": models["gru"], "table": "table.csv", "cut": "cut.safetensors"}
    words, told = MISTAKES[kind]
    done = textvae(*(word.format(**names) for word in words), stdin="0 0 0\n0 0\n")
    assert (done.code, done.out) == (2, "") and told in done.err
    assert done.err.startswith("error: ") and done.err.endswith((".\n", "?\n")) and done.err.count("\n") == 1


def test_vectors_may_be_in_bfloat16(textvae, models, opened, tmp_path):
    z = opened["gru"].encode(TEXTS).bfloat16()
    save_tensors({"latents": z}, tmp_path / "z.safetensors")
    done = textvae("decode", models["gru"], "--file", tmp_path / "z.safetensors")
    assert done.lines == opened["gru"].decode(z)
