"""Sweeps as they are typed: run, cut, resumed, refused, and the table and plot of what was reached."""

import csv
import json
import runpy
import shutil
import sys
from pathlib import Path
from statistics import fmean

import pytest
import torch
import yaml
from PIL import Image
from tiny_runs import SENTENCES, Killed, contents, results, settings, weights, write_lines

from textvae.config_fields import read_yaml
from textvae.errors import InputError
from textvae.sweeps.compare import Outcome, add_gap, as_csv, as_markdown, rate_distortion
from textvae.sweeps.file import read_sweep
from textvae.training import checkpoints

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parents[2] / "recipes"
CONFIGS = [path for path in sorted((RECIPES / "configs").glob("*.yaml")) if "runs" in read_yaml(path)]
LM, VAE = "language model", "Free bits: 0.25"
RUNS = {LM: {"latent_injection": "none"}, VAE: {"free_bits": 0.25}}
EVALUATION = {
    "num_importance_samples": 3,
    "num_importance_texts": 30,
    "num_reconstructed_texts": 10,
    "num_prior_samples": 2,
    "batch_size": 16,
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


@pytest.fixture(scope="module")
def test_file(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("test") / "test.txt", SENTENCES[::5])


def write_sweep(directory: Path, corpus: Path, **changes) -> Path:
    """A sweep file of two tiny runs into `directory`/runs."""
    base = settings(
        corpus, directory, max_steps=4, save_steps=2, eval_steps=2, num_importance_texts=10, num_reconstructed_texts=10
    )
    del base["output_dir"]
    values = {
        "output_dir": str(directory / "runs"),
        "seeds": [0],
        "language_model": LM,
        "base": base,
        "runs": RUNS,
        "evaluation": EVALUATION,
    } | changes
    path = directory / "sweep.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def sweep(*arguments) -> int:
    """Runs the recipe as a script of this process; its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["sweep.py", *map(str, arguments)])
        try:
            runpy.run_path(str(RECIPES / "sweep.py"), run_name="__main__")
        except SystemExit as done:
            return done.code or 0
    return 0


def last_line(text: str) -> str:
    return text.removesuffix("\n").split("\n")[-1]


def lines_of(table: Path) -> dict[tuple[str, str], dict]:
    with table.open(encoding="utf-8", newline="") as file:
        return {(line["run"], line["seed"]): line for line in csv.DictReader(file)}


def times(directory: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(directory.rglob("*"))}


@pytest.fixture(scope="module")
def swept(corpus, test_file, tmp_path_factory):
    """The sweep file of both runs with two seeds, done without interruption."""
    path = write_sweep(tmp_path_factory.mktemp("swept"), corpus, seeds=[0, 1])
    assert sweep(path, "--test_file", test_file) == 0
    return path


def reached(swept: Path, run: str, seed: int) -> dict:
    return json.loads((swept.parent / "runs" / f"{run}-seed{seed}" / "test.json").read_text())["results"]


# a whole sweep


def test_a_run_goes_on_from_the_model_of_another_with_its_seed(corpus, tmp_path):
    runs = {VAE: RUNS[VAE], "longer": {**RUNS[VAE], "after": VAE, "max_steps": 2, "learning_rate": 1e-12}}
    path = write_sweep(tmp_path, corpus, runs=runs, language_model=None, seeds=[0, 1])
    assert sweep(path) == 0
    for seed in (0, 1):
        first, longer = (tmp_path / "runs" / f"{name}-seed{seed}" for name in ("free-bits-0.25", "longer"))
        assert results(longer)["steps"] == 2
        assert all(torch.allclose(a, weights(longer)[name]) for name, a in weights(first).items())


def test_a_sweep_leaves_runs_tables_and_a_picture(swept, test_file):
    runs = swept.parent / "runs"
    assert {path.name for path in runs.iterdir()} == {
        "free-bits-0.25-seed0",
        "free-bits-0.25-seed1",
        "language-model-seed0",
        "language-model-seed1",
        "table.md",
        "table.csv",
        "rate_distortion.png",
    }
    table = (runs / "table.md").read_text(encoding="utf-8")
    command = f"command: python {RECIPES / 'sweep.py'} {swept} --test_file {test_file}"
    assert table.startswith("<!--") and all(text in table for text in (command, "seeds: 0, 1", "4 steps", "CPU cores"))
    with Image.open(runs / "rate_distortion.png") as picture:
        picture.load()
        assert picture.format == "PNG" and len(set(picture.convert("L").tobytes())) > 10


def test_the_csv_has_every_result_in_full_precision(swept):
    lines = lines_of(swept.parent / "runs" / "table.csv")
    assert list(lines) == [(name, seed) for seed in "01" for name in (LM, VAE)]
    for (name, seed), line in lines.items():
        run = "language-model" if name == LM else "free-bits-0.25"
        test = reached(swept, run, int(seed))
        assert {key: float(line[key]) for key in test} == test
        trained = results(swept.parent / "runs" / f"{run}-seed{seed}")
        assert float(line["num_parameters"]) == trained["num_parameters"] and line["steps"] == "4"


def test_seeds_are_averaged_and_the_gap_is_to_the_language_model(swept):
    vae, lm = ([reached(swept, run, seed)["iw_nll"] for seed in (0, 1)] for run in ("free-bits-0.25", "language-model"))
    table = (swept.parent / "runs" / "table.md").read_text(encoding="utf-8").split("\n")
    row = next(line for line in table if line.startswith(f"| {VAE}"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    spread = abs(vae[0] - vae[1]) / 2
    assert cells[:2] == [VAE, f"{fmean(vae):,.2f} ± {spread:.2f}"]
    assert cells[9] == f"{fmean(vae) - fmean(lm):.2f} ± {spread:.2f}"
    lines = lines_of(swept.parent / "runs" / "table.csv")
    assert float(lines[VAE, "1"]["gap"]) == pytest.approx(vae[1] - fmean(lm))


def test_a_second_call_does_nothing_again(swept, test_file, capsys):
    runs = [path for path in (swept.parent / "runs").iterdir() if path.is_dir()]
    before = [(contents(path), times(path)) for path in runs]
    assert sweep(swept, "--test_file", test_file) == 0
    assert [(contents(path), times(path)) for path in runs] == before
    assert f"| {VAE} | " in capsys.readouterr().out


def test_other_evaluation_options_or_test_texts_are_measured_without_training_again(swept, corpus, tmp_path):
    copy = Path(shutil.copytree(swept.parent / "runs", tmp_path / "runs"))
    path = write_sweep(tmp_path, corpus, evaluation=EVALUATION | {"num_importance_samples": 4})
    before = times(copy / "free-bits-0.25-seed0")
    texts = write_lines(tmp_path / "test.txt", SENTENCES[1::9])
    assert sweep(path, "--test_file", texts, "--only", VAE) == 0
    test = json.loads((copy / "free-bits-0.25-seed0" / "test.json").read_text())["results"]
    assert (test["num_importance_samples"], test["num_texts"]) == (4, len(SENTENCES[1::9]))
    after = times(copy / "free-bits-0.25-seed0")
    assert {name for name in before if after[name] != before[name]} <= {
        str(copy / "free-bits-0.25-seed0" / name) for name in ("", "test.json", "test-cache")
    }
    table = (copy / "table.md").read_text(encoding="utf-8")
    assert f"| {LM} | trained, not yet measured" in table


# cut and resumed


def test_a_cut_sweep_goes_on_and_equals_an_uninterrupted_one(swept, corpus, test_file, tmp_path, monkeypatch, capsys):
    path = write_sweep(tmp_path, corpus, runs=dict(reversed(RUNS.items())))
    save = checkpoints.save_checkpoint

    def save_and_be_cut(*arguments):
        save(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_checkpoint", save_and_be_cut)
        assert sweep(path, "--test_file", test_file) == 130
    capsys.readouterr()
    assert sweep(path, "--test_file", test_file, "--list") == 0
    assert "seed 0: running, step 2 of 4 (" in capsys.readouterr().out
    assert sweep(path, "--test_file", test_file, "--table") == 0
    table = (tmp_path / "runs" / "table.md").read_text(encoding="utf-8")
    assert f"| {VAE} | running, step 2 of 4 |" in table and f"| {LM} | not started |" in table
    assert not (tmp_path / "runs" / "language-model-seed0").exists()

    assert sweep(path, "--test_file", test_file) == 0
    whole, resumed = (directory / "runs" / "free-bits-0.25-seed0" for directory in (swept.parent, tmp_path))
    assert read_yaml(resumed / "training_config.yaml")["resume_from_checkpoint"] == "latest"
    assert results(resumed) == results(whole)
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(resumed).items())
    assert (resumed / "test.json").read_text() == (whole / "test.json").read_text()


def test_a_run_cut_before_its_first_checkpoint_starts_anew(swept, corpus, test_file, tmp_path, monkeypatch):
    """Though it has left the best model until then."""
    path = write_sweep(tmp_path, corpus)
    cut = tmp_path / "runs" / "free-bits-0.25-seed0"

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(checkpoints, "save_checkpoint", killed)
        sweep(path, "--test_file", test_file, "--only", VAE)
    assert (cut / "best").exists() and not checkpoints.checkpoints_in(cut)
    assert sweep(path, "--test_file", test_file) == 0
    assert results(cut) == results(swept.parent / "runs" / cut.name)


def test_values_that_another_model_left_are_measured_again(swept, corpus, test_file, tmp_path):
    copy = Path(shutil.copytree(swept.parent / "runs", tmp_path / "runs"))
    path, run = write_sweep(tmp_path, corpus), copy / "free-bits-0.25-seed0"
    whole = (run / "test.json").read_bytes()
    caches = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys.modules["textvae.evaluation.evaluate"], "append_values", lambda cache, _: caches.append(cache)
        )
        (run / "test.json").unlink()
        assert sweep(path, "--test_file", test_file, "--only", VAE) == 0
    (run / "test.json").unlink()
    caches[0].write_text('{"model": "another"}\n[[0, 1.0]]\n')
    assert sweep(path, "--test_file", test_file, "--only", VAE) == 0
    assert (run / "test.json").read_bytes() == whole and not caches[0].exists()


def test_the_table_of_a_half_finished_sweep_shows_both_halves(swept, corpus, test_file, tmp_path):
    copy = Path(shutil.copytree(swept.parent / "runs", tmp_path / "runs"))
    shutil.rmtree(copy / "free-bits-0.25-seed1")
    (copy / "language-model-seed1" / "metrics.json").unlink()
    before = {path: times(path) for path in copy.iterdir() if path.is_dir()}
    path = write_sweep(tmp_path, corpus, seeds=[0, 1])
    assert sweep(path, "--test_file", test_file, "--table") == 0
    table = (copy / "table.md").read_text(encoding="utf-8")
    found = reached(swept, "free-bits-0.25", 0)
    shown = f"{found['iw_nll']:,.2f} ± {found['iw_nll_standard_error']:,.2f}"
    assert f"| {VAE} (seed 1: not started) | {shown} | " in table
    assert f"| {LM} (seed 1: running, step 4 of 4) | " in table
    assert lines_of(copy / "table.csv")[VAE, "1"]["state"] == "not started"
    assert {path: times(path) for path in copy.iterdir() if path.is_dir()} == before


def test_a_run_that_fails_is_shown_and_the_next_ones_run(corpus, tmp_path, capsys):
    runs = {"Diverges": {"learning_rate": 1e30}, "goes well": {}}
    path = write_sweep(tmp_path, corpus, language_model=None, runs=runs)
    assert sweep(path) == 1
    assert "error: 'Diverges', seed 0: The " in capsys.readouterr().err
    table = (tmp_path / "runs" / "table.md").read_text(encoding="utf-8")
    nll = results(tmp_path / "runs" / "goes-well-seed0")["iw_nll"]
    assert "| Diverges | failed: The " in table and f"| goes well | {nll:,.2f}" in table
    assert "Measured on the validation texts." in table
    before = contents(tmp_path / "runs" / "goes-well-seed0")
    assert sweep(path) == 1, "what failed is tried again"
    assert contents(tmp_path / "runs" / "goes-well-seed0") == before


# mistakes

MISTAKES = {
    "wrong value in the last run": ({"runs": {**RUNS, "last": {"free_bits": -1}}}, [], "In the run 'last': free_bits"),
    "wrong name in the last run": ({"runs": {**RUNS, "last": {"free_bit": 1}}}, [], "'free_bits'"),
    "a model that cannot be built": (
        {"runs": {**RUNS, "last": {"decoder": {"model_type": "gru", "hiden_size": 8}}}},
        [],
        "In the run 'last': The decoder gru has no setting 'hiden_size'",
    ),
    "a corpus that is missing": ({"runs": {**RUNS, "last": {"train_file": "nowhere.txt"}}}, [], "nowhere.txt"),
    "no test file": ({}, ["--test_file", "nowhere.txt"], "nowhere.txt"),
    "two runs in one directory": ({"runs": {**RUNS, "free bits 0.25": {}}}, [], "rename"),
    "unknown key": ({"evalution": {}}, [], "'evaluation'"),
    "unknown evaluation option": ({"evaluation": {"importance_samples": 3}}, [], "num_importance_samples"),
    "evaluation at no such precision": ({"evaluation": {"mixed_precision": "bf8"}}, [], "bf16"),
    "evaluation out of range": ({"evaluation": {"batch_size": 0}}, [], "batch_size"),
    "language model that is no run": ({"language_model": "the LM"}, [], LM),
    "language model with a z": ({"language_model": VAE}, [], "latent_injection: none"),
    "after a run that comes later": ({"runs": {"first": {"after": VAE}, **RUNS}}, [], "of a run above it"),
    "no runs": ({"runs": {}}, [], "runs"),
    "runs that are a list": ({"runs": ["one"]}, [], "runs"),
    "no output_dir": ({"output_dir": None}, [], "output_dir"),
    "the same seed twice": ({"seeds": [1, 1]}, [], "seeds"),
    "seed of a run": ({"runs": {**RUNS, "last": {"seed": 3}}}, [], "'last' sets seed"),
    "resuming by hand": ({}, ["--resume_from_checkpoint", "latest"], "--resume_from_checkpoint"),
    "only an unknown run": ({}, ["--only", "free bits"], VAE),
    "unknown flag": ({}, ["--tabel"], "'--table'"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_found_before_anything_is_written(corpus, tmp_path, capsys, kind):
    changes, arguments, told = MISTAKES[kind]
    path = write_sweep(tmp_path, corpus, **changes)
    assert sweep(path, *arguments) == 2
    sentence = last_line(capsys.readouterr().err)
    assert sentence.startswith("error: ") and told in sentence and sentence.endswith((".", "?"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["sweep.yaml"]


def test_a_directory_of_other_settings_is_refused(swept, test_file, capsys):
    before = contents(swept.parent)
    assert sweep(swept, "--test_file", test_file, "--latent_size", 7) == 2
    sentence = last_line(capsys.readouterr().err)
    assert all(text in sentence for text in ("language-model-seed0", "latent_size was 6 and is now 7", "remove"))
    assert contents(swept.parent) == before


def test_settings_that_change_no_result_may_differ(swept, test_file):
    assert sweep(swept, "--test_file", test_file, "--save_steps", 1, "--logging_steps", 3, "--list") == 0


def test_without_matplotlib_nothing_runs(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert sweep(write_sweep(tmp_path, corpus)) == 2
    assert "textvae[recipes]" in last_line(capsys.readouterr().err) and not (tmp_path / "runs").exists()


# files


def test_flags_win_over_the_runs_which_win_over_the_base(corpus, tmp_path):
    path = write_sweep(tmp_path, corpus)
    read = read_sweep(path, {"free_bits": "0.5", "seed": "3", "output_dir": str(tmp_path / "other")})
    assert [one.config.free_bits for one in read.runs] == [0.5, 0.5]
    assert {one.directory for one in read.runs} == {
        tmp_path / "other" / "language-model-seed3",
        tmp_path / "other" / "free-bits-0.25-seed3",
    }
    assert [one.config.free_bits for one in read_sweep(path, {}).runs] == [0.0, 0.25]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.name)
def test_every_sweep_file_is_right_and_says_how_it_is_run(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # away from runs of these very files
    read = read_sweep(config, {})
    assert read.output_dir == Path("runs") / config.stem and len(read.runs) > 2
    assert f"python recipes/sweep.py recipes/configs/{config.name}" in config.read_text(encoding="utf-8")


def test_the_vae_of_the_full_length_sweep_is_that_of_the_config_beside_it():
    values = read_yaml(RECIPES / "configs" / "ptb.yaml")
    alone = read_yaml(RECIPES / "configs" / "ptb-gru.yaml")
    assert values["base"] | values["runs"]["VAE"] == {k: v for k, v in alone.items() if k != "output_dir"}


# tables and plots of given numbers

GIVEN = [
    Outcome("LM", 0, "finished", {"iw_nll": 100.0, "negative_elbo": 101.0, "kl": 0.0, "reconstruction": 101.0}),
    Outcome("LM", 1, "finished", {"iw_nll": 102.0, "negative_elbo": 103.0, "kl": 0.0, "reconstruction": 103.0}),
    Outcome("a|b", 0, "finished", {"iw_nll": 103.0, "negative_elbo": 106.0, "kl": 5.0, "reconstruction": 101.0}),
    Outcome("a|b", 1, "finished", {"iw_nll": 107.5, "negative_elbo": 108.0, "kl": 8.0, "reconstruction": 100.0}),
    Outcome("late", 0, "not started"),
    Outcome("late", 1, "failed: The loss\nbecame | nan."),
]


def test_means_spreads_and_gaps_by_hand():
    outcomes = [Outcome(one.name, one.seed, one.state, dict(one.results)) for one in GIVEN]
    add_gap(outcomes, "LM")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in as_markdown(outcomes).split("\n")[2:5]]
    assert rows[0][:6] == ["LM", "101.00 ± 1.00", "–", "102.00 ± 1.00", "0.00 ± 0.00", "102.00 ± 1.00"]
    assert rows[1][:6] == ["a∣b", "105.25 ± 2.25", "–", "107.00 ± 1.00", "6.50 ± 1.50", "100.50 ± 0.50"]
    assert (rows[0][9], rows[1][9]) == ("0.00 ± 1.00", "4.25 ± 2.25")
    assert rows[2][:2] == ["late", "seed 0: not started; seed 1: failed: The loss became ∣ nan."]
    assert len({len(row) for row in rows}) == 1
    alike = as_markdown([Outcome("late", seed, "not started") for seed in (0, 1)])
    assert "| late | not started |" in alike
    lines = list(csv.DictReader(as_csv(outcomes).split("\n")))
    assert [line["gap"] for line in lines] == ["-1.0", "1.0", "2.0", "6.5", "", ""]


def test_a_single_seed_shows_its_standard_error_and_no_gap_without_a_language_model():
    single = [Outcome("one", 0, "finished", {"iw_nll": 103.0, "iw_nll_standard_error": 0.456, "kl": 2.0})]
    add_gap(single, None)
    cells = [cell.strip() for cell in as_markdown(single).split("\n")[2].strip("|").split("|")]
    assert (cells[1], cells[4], cells[9]) == ("103.00 ± 0.46", "2.00", "–")


def test_the_standard_error_is_that_of_the_seed_that_has_the_value():
    first, second = {"kl": 2.0, "bleu_standard_error": 9.0}, {"bleu": 0.5, "bleu_standard_error": 0.25}
    outcomes = [Outcome("one", seed, "finished", results) for seed, results in enumerate((first, second))]
    assert "| 0.50 ± 0.25 |" in as_markdown(outcomes)


def test_the_plot_shows_every_finished_run_and_the_line_of_the_language_model():
    from matplotlib.lines import AxLine

    figure = rate_distortion(GIVEN, "LM")
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines}
    assert lines["a|b"].get_xydata().tolist() == [[6.5, 100.5]] and "late" not in lines
    assert lines["language model: R + D = 102.0 nats"].get_xydata().tolist() == [[0.0, 102.0]]
    slopes = {line.get_xy1(): line.get_slope() for line in axes.lines if isinstance(line, AxLine)}
    assert slopes == {(0, 102.0): -1, (0, 107.0): -1, (0, 112.0): -1}
    assert {text.get_text() for text in axes.texts} <= {"+5 nats", "+10 nats"}
    assert "nats" in axes.get_xlabel() and "nats" in axes.get_ylabel()
    assert figure.legends and not rate_distortion(GIVEN[2:4], None).axes[0].texts


def test_nothing_can_be_said_of_an_unknown_setting_in_a_kept_run(corpus, tmp_path):
    path = write_sweep(tmp_path, corpus)
    directory = tmp_path / "runs" / "language-model-seed0"
    directory.mkdir(parents=True)
    (directory / "training_config.yaml").write_text("latent_sise: 3\n")
    with pytest.raises(InputError, match="latent_size"):
        read_sweep(path, {})
