"""The recipes for molecules, with a tiny MOSES and models that have learnt nothing."""

import csv
import gzip
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from textvae import TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.data.moses import load_moses, load_moses_chemnet, load_moses_filters
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.unigram import train_tokenizer
from textvae.errors import InputError
from textvae.evaluation.molecules import as_selfies

pytest.importorskip("rdkit", reason="needs rdkit: pip install 'textvae[molecules]'")
RECIPES = Path(__file__).parent.parent / "recipes"
SMILES = [f"{'C' * carbons}{end}" for carbons in range(2, 17) for end in ("O", "N", "(=O)O", "c1ccccc1")]


@pytest.fixture(scope="module")
def moses(tmp_path_factory):
    """A distribution molsets whose splits are the same few molecules."""
    place = tmp_path_factory.mktemp("packages")
    (place / "molsets-0.3.1.dist-info").mkdir()
    (place / "molsets-0.3.1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: molsets\nVersion: 0.3.1\n"
    )
    for folder in ("dataset/data", "metrics"):
        (place / "moses" / folder).mkdir(parents=True)
    data, metrics = place / "moses/dataset/data", place / "moses/metrics"
    for split in ("train", "test", "test_scaffolds"):
        (data / f"{split}.csv.gz").write_bytes(gzip.compress("\n".join(["SMILES", *SMILES]).encode()))
    stats = {"FCD": {"mu": np.zeros(512), "sigma": np.eye(512)}}
    np.savez(data / "test_stats.npz", stats=np.array(stats, dtype=object))
    (metrics / "mcf.csv").write_text("names,smarts\nMCF1,[CX3](=O)[OX2H1]\n")
    (metrics / "wehi_pains.csv").write_text('"[c:1]-[Br]",<regId=one>\n')
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        yield place


@pytest.fixture(scope="module")
def call():
    """recipe, arguments → runs it as a script of this process."""

    def call(recipe: str, *arguments) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [recipe, *map(str, arguments)])
            runpy.run_path(str(RECIPES / recipe), run_name="__main__")

    return call


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """One that writes SMILES and one that writes SELFIES, whatever comes."""
    tokenizers = train_tokenizer(SMILES, 300, normalization="none"), train_word_tokenizer(as_selfies(SMILES))
    return [save_model(tokenizer, tmp_path_factory.mktemp("model")) for tokenizer in tokenizers]


def save_model(tokenizer, place: Path) -> Path:
    torch.manual_seed(0)
    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = TextVAEConfig(
        encoder={**size, "model_type": "bert", "vocab_size": len(tokenizer)},
        decoder={"model_type": "gru", "hidden_size": 8, "embedding_size": 6, "vocab_size": len(tokenizer)},
        latent_size=3,
        initializer_range=1.0,
    )
    vae = TextVAEPipeline(TextVAEModel(config), tokenizer, max_length=12)
    vae.fit_prior(SMILES)
    vae.save_pretrained(place)
    return place


def test_moses_is_read_from_the_files_of_its_package(moses):
    assert load_moses("train") == SMILES
    assert load_moses_filters() == ["[CX3](=O)[OX2H1]", "[c:1]-[Br]"]
    assert load_moses_chemnet()[1].shape == (512, 512)
    with pytest.raises(InputError, match="test_scaffolds"):
        load_moses("valid")


def test_molecules_are_written_as_texts(moses, call, tmp_path):
    sizes = ["--num_train", 40, "--num_valid", 10, "--num_test", 20]
    call("moses.py", tmp_path / "smiles", *sizes)
    call("moses.py", tmp_path / "selfies", *sizes, "--selfies")
    texts = {
        name: (tmp_path / "smiles" / f"{name}.txt").read_text().splitlines() for name in ("train", "valid", "test")
    }
    assert [len(some) for some in texts.values()] == [40, 10, 20]
    assert not {*texts["train"]} & {*texts["valid"]} and {*texts["train"]} < {*SMILES}
    assert (tmp_path / "selfies" / "valid.txt").read_text().splitlines() == as_selfies(texts["valid"])
    with pytest.raises(SystemExit):
        call("moses.py", tmp_path / "smiles")


def test_samples_are_measured_beside_real_molecules(moses, call, models, tmp_path, capsys):
    (tmp_path / "test.txt").write_text("\n".join(SMILES))
    rows = tmp_path / "rows.csv"
    call(
        *("evaluate_molecules.py", *models, "--test_file", tmp_path / "test.txt", "--num_samples", 6),
        *("--priors", "gaussian", "standard", "--writing", "greedy", "drawn", "--output", rows),
    )
    printed = capsys.readouterr().out.splitlines()
    table = list(csv.DictReader(rows.open()))
    assert len(table) == len(printed) - 2 == 1 + 2 * 2 * 2
    assert float(table[0]["valid"]) == float(table[0]["nearest"]) == 1 and float(table[0]["novel"]) == 0
    assert all(0 <= float(row[name]) <= 1 for row in table for name in ("valid", "nearest", "diversity", "filters"))


def test_moves_of_a_property_are_measured(call, models, tmp_path, capsys):
    (tmp_path / "all.txt").write_text("\n".join(SMILES))
    call(
        *("evaluate_property.py", models[0], "--train_file", tmp_path / "all.txt", "--file", tmp_path / "all.txt"),
        *("--num_texts", 5, "--strengths", 0, 2, "--output", tmp_path / "rows.csv"),
    )
    names = [row["way"] for row in csv.DictReader((tmp_path / "rows.csv").open())]
    assert names[:2] == ["mean, strength 0", "mean, strength 2"]


def test_molecules_are_drawn(call, tmp_path):
    call("draw_molecules.py", tmp_path / "drawn.png", "CCO", "no molecule", *as_selfies(["c1ccccc1"]))
    assert (tmp_path / "drawn.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("recipe", "arguments", "told"),
    [
        ("draw_molecules.py", ["{there}/no/where.png", "CCO"], "no/where.png"),
        ("evaluate_molecules.py", ["nowhere", "--test_file", "{there}/few.txt"], "nowhere"),
        ("evaluate_property.py", ["{model}", "--file", "{there}/few.txt", "--train_file", "{there}/few.txt"], "thirds"),
        ("evaluate_property.py", ["{model}", "--file", "{there}/bad.txt", "--train_file", "{there}/bad.txt"], "(C"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(moses, call, models, tmp_path, capsys, recipe, arguments, told):
    (tmp_path / "few.txt").write_text("CCO\nCCN\n")
    (tmp_path / "bad.txt").write_text("CCO\n(C\nCCCC\nCCCN\n")
    with pytest.raises(SystemExit) as done:
        call(recipe, *(argument.format(there=tmp_path, model=models[0]) for argument in arguments))
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert done.value.code == 2 and error.startswith("error: ") and told in error
