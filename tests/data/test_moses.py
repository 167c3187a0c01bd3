"""Molecules as texts: every character of a SMILES comes back, and MOSES is asked for where it is missing."""

import json
import sys

import pandas
import pytest

from textvae.data.corpora import load_texts
from textvae.data.moses import load_moses
from textvae.data.unigram import train_tokenizer
from textvae.errors import InputError

SMILES = [
    *("F/C=C\\F", "C\\C=C/C", "C#N", "#CC", "[O-][N+](=O)c1ccccc1", "N[C@@H](C)C(=O)O", "C%12CCCCC%12"),
    *("[Na+].[Cl-]", "CC(=O)Oc1ccccc1C(=O)O", "O=C=O", "NaN", "N", "{[$]C[$]}", "C*", "~C", '"C"'),
]


@pytest.mark.parametrize("ending", ["txt", "csv", "tsv", "jsonl"])
def test_a_file_of_any_kind_gives_every_character(tmp_path, ending):
    file, table = tmp_path / f"molecules.{ending}", pandas.DataFrame({"text": SMILES, "number": range(len(SMILES))})
    if ending in ("csv", "tsv"):
        table.to_csv(file, index=False, sep="," if ending == "csv" else "\t")
    else:
        file.write_text("\n".join(SMILES if ending == "txt" else [json.dumps({"text": text}) for text in SMILES]))
    assert load_texts([str(file)])["text"][:] == SMILES


@pytest.mark.parametrize("normalization", ["none", "nfc"])
def test_a_tokenizer_gives_every_character(normalization):
    tokenizer = train_tokenizer(SMILES, 320, normalization=normalization)
    ids = [tokenizer(text).input_ids for text in SMILES]
    assert [tokenizer.decode(some, skip_special_tokens=True) for some in ids] == SMILES


def test_without_molsets_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(InputError, match="pip install --no-deps molsets"):
        load_moses("train")
