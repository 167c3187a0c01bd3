"""The recipes as they are typed: what they print and leave, and one sentence and exit code 2 for a mistake."""

import csv
import io
import json
import runpy
import sys
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from datasets import Dataset
from tiny_runs import BERT, GRU, SENTENCES, contents, results, save_decoder, save_encoder, write_lines

from textvae import TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.config_fields import read_yaml
from textvae.data.tokenization import train_word_tokenizer
from textvae.training.config import TrainingConfig

pytestmark = pytest.mark.slow

RECIPES = Path(__file__).parent.parent / "recipes"
CUT_DOWN = [
    "--max_steps",
    "30",
    "--eval_steps",
    "15",
    "--max_length",
    "24",
    "--per_device_train_batch_size",
    "16",
    "--mixed_precision",
    "no",
    "--num_prior_samples",
    "8",
]


@pytest.fixture(scope="module")
def call(request):
    """recipe, arguments → runs it as a script of this process."""

    def call(recipe: str, *arguments) -> None:
        arguments = (*arguments, "--num_prior_samples", 3) if recipe == "evaluate.py" else arguments
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [recipe, *map(str, arguments)])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO())))
            runpy.run_path(str(RECIPES / recipe), run_name="__main__")

    return call


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "mine.txt")


@pytest.fixture(scope="module")
def unreadable(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "unreadable.txt"
    path.symlink_to("/proc/self/mem")  # whose first bytes not even root can read
    return path


@pytest.fixture(scope="module")
def model(call, corpus, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("runs") / "tiny"
    config = RECIPES / "configs" / "tiny.yaml"
    call("train.py", "--config", config, "--train_file", corpus, "--output_dir", output_dir, *CUT_DOWN)
    return output_dir


def test_train_takes_a_config_and_flags_that_override_it(model, corpus):
    kept, given = (
        TrainingConfig.from_yaml(path) for path in (model / "training_config.yaml", RECIPES / "configs" / "tiny.yaml")
    )
    assert (kept.max_steps, kept.train_file, kept.max_length) == (30, [str(corpus)], 24)
    assert (kept.latent_size, kept.encoder, kept.decoder) == (given.latent_size, given.encoder, given.decoder)
    assert results(model)["steps"] == 30
    assert len(TextVAEPipeline.from_pretrained(model).sample(3, seed=0)) == 3


def test_train_prints_what_it_writes_on_the_card(call, corpus, tmp_path, capsys):
    config = RECIPES / "configs" / "tiny.yaml"
    call(
        "train.py",
        "--config",
        config,
        "--train_file",
        corpus,
        "--output_dir",
        tmp_path / "run",
        *CUT_DOWN,
        "--max_steps",
        "2",
        "--card_examples",
    )
    printed = capsys.readouterr()
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    table, *samples = printed.out.split("**Reconstructions**")
    assert table.strip() and table.strip() in card and len(samples) == card.count("**Reconstructions**") == 1
    assert "training" in printed.err and "KL" in printed.err and "tok/s" in printed.err
    assert "shared tensor" not in printed.err


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_standard_output_that_is_not_utf_8_costs_nothing(call, model, corpus, tmp_path, monkeypatch, encoding):
    def printed(recipe: str, *arguments) -> str:
        written = io.TextIOWrapper(io.BytesIO(), encoding)
        monkeypatch.setattr(sys, "stdout", written)
        call(recipe, *arguments)
        written.flush()
        return written.buffer.getvalue().decode(encoding)

    assert "--beta" in printed_help(printed)
    settings = ["--config", RECIPES / "configs" / "tiny.yaml", "--train_file", corpus, *CUT_DOWN, "--max_steps", 1]
    assert "?ELBO" in printed("train.py", *settings, "--output_dir", tmp_path / "run")
    assert (tmp_path / "run" / "metrics.json").exists() and "−ELBO" in (tmp_path / "run" / "README.md").read_text(
        "utf-8"
    )
    few = ["--num_importance_samples", 1, "--num_importance_texts", 2, "--num_reconstructed_texts", 2]
    assert "?ELBO" in printed("evaluate.py", model, "--file", corpus, *few, "--output", tmp_path / "scores.json")
    assert (tmp_path / "scores.json").exists()
    assert "? ?" in printed("paraphrase.py", model, "☃ ☃", "--num_return_sequences", 1)


def printed_help(printed) -> str:
    with pytest.raises(SystemExit) as end:
        printed("train.py", "--help")
    assert end.value.code == 0
    return sys.stdout.buffer.getvalue().decode(sys.stdout.encoding)


def test_train_fine_tunes_and_resumes(call, model, corpus, tmp_path):
    tuned = tmp_path / "tuned"
    shared = ["--train_file", corpus, "--output_dir", tuned, "--max_length", 24, "--mixed_precision", "no"]
    call("train.py", "--model_name_or_path", model, *shared, "--max_steps", "2")
    call("train.py", "--model_name_or_path", model, *shared, "--max_steps", "4", "--resume_from_checkpoint", "latest")
    assert results(tuned)["steps"] == 4


def test_evaluate_prints_a_table_and_writes_json(call, model, corpus, tmp_path, capsys):
    call(
        "evaluate.py",
        model,
        "--file",
        corpus,
        "--num_importance_samples",
        5,
        "--num_importance_texts",
        20,
        "--num_reconstructed_texts",
        10,
        "--output",
        tmp_path / "scores.json",
    )
    printed = capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert f"| negative_elbo | {scores['negative_elbo']:,.2f} ± " in printed
    counts = [
        scores[f"num_{kind}"] for kind in ("texts", "importance_samples", "importance_texts", "reconstructed_texts")
    ]
    assert counts == [len(SENTENCES), 5, 20, 10]


def test_evaluate_measures_the_same_twice_and_in_other_batches(call, model, corpus, tmp_path):
    for name, batch_size in (("first", 64), ("again", 64), ("other", 7)):
        call(
            "evaluate.py",
            model,
            "--file",
            corpus,
            "--num_importance_samples",
            5,
            "--batch_size",
            batch_size,
            "--output",
            tmp_path / name,
        )
    first, again, other = (json.loads((tmp_path / name).read_text()) for name in ("first", "again", "other"))
    assert first == again
    assert other == pytest.approx(first, rel=1e-4, abs=1e-5)


def test_evaluate_measures_the_targets_of_a_table(call, model, tmp_path, capsys):
    lines = [f"{text}\t{text.upper()}" for text in SENTENCES[:20]]
    table = write_lines(tmp_path / "pairs.tsv", ["from\tto", *lines, "nothing to\t"])
    call(
        "evaluate.py",
        model,
        "--file",
        table,
        "--text_column",
        "from",
        "--target_column",
        "to",
        "--num_importance_samples",
        2,
        "--output",
        tmp_path / "scores.json",
    )
    assert "| negative_elbo |" in capsys.readouterr().out
    scores = json.loads((tmp_path / "scores.json").read_text())
    pairs = Dataset.from_dict({"text": SENTENCES[:20], "target": [text.upper() for text in SENTENCES[:20]]})
    assert scores == TextVAEPipeline.from_pretrained(model).evaluate(
        pairs, num_importance_samples=2, num_prior_samples=3
    )
    assert scores["num_texts"] == 20


def test_evaluate_goes_on_and_leaves_nothing_unfinished(call, model, corpus, tmp_path, capsys, caplog):
    arguments = [model, "--file", corpus, "--num_importance_samples", 5, "--batch_size", 16, "--output"]
    call("evaluate.py", *arguments, tmp_path / "whole.json")
    partial = tmp_path / "cut.json.partial"
    options = {"num_importance_samples": 5, "num_prior_samples": 3, "batch_size": 16, "cache": partial}
    TextVAEPipeline.from_pretrained(model).evaluate(SENTENCES, **options)
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(b"".join(lines[:4]))
    call("evaluate.py", *arguments, tmp_path / "cut.json")
    assert f"48 of {len(SENTENCES)} importance-weighted values were already there" in caplog.text
    assert (tmp_path / "cut.json").read_bytes() == (tmp_path / "whole.json").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.json", "whole.json"]
    assert "unknown" not in capsys.readouterr().out.replace("num_unknown 0", "")


def test_evaluate_says_how_many_words_are_unknown(call, tmp_path, capsys):
    tokenizer = train_word_tokenizer(SENTENCES)
    sizes = {"vocab_size": len(tokenizer)}
    config = TextVAEConfig(encoder={**BERT, **sizes}, decoder={**GRU, **sizes}, latent_size=4)
    TextVAEPipeline(TextVAEModel(config), tokenizer).save_pretrained(tmp_path / "model")
    texts = ["I like unicorns .", "we <unk> pizza ."]
    call("evaluate.py", tmp_path / "model", "--file", write_lines(tmp_path / "texts.txt", texts))
    told = "1 of 10 tokens (10.00 %) are unknown to the tokenizer and count as <unk>.\n"
    assert capsys.readouterr().out.endswith(told)


def test_interpolate_prints_one_sentence_a_line_ends_included(call, model, capsys):
    for path in ("linear", "spherical"):
        call("interpolate.py", model, "I like pizza .", "we never saw music .", "--num_steps", 4, "--path", path)
        pipeline = TextVAEPipeline.from_pretrained(model)
        ends = pipeline.reconstruct(["I like pizza .", "we never saw music ."])
        lines = capsys.readouterr().out.removesuffix("\n").split("\n")
        assert len(lines) == 4 and [lines[0], lines[-1]] == ends


def test_paraphrase_reads_texts_and_files(call, model, tmp_path, capsys):
    file = write_lines(tmp_path / "two.txt", ["we like music .", "nobody here talked ."])
    call("paraphrase.py", model, "I like pizza .", "--file", file, "--num_return_sequences", 3, "--seed", 1)
    lines = capsys.readouterr().out.removesuffix("\n").split("\n")
    assert [line for line in lines if not line.startswith("  ")] == [
        "I like pizza .",
        "we like music .",
        "nobody here talked .",
    ]
    assert 3 < len(lines) <= 3 + 3 * 3


def test_paraphrases_are_measured_beside_copies_and_references(call, model, tmp_path, capsys):
    sources, one, two = (write_lines(tmp_path / f"{k}.txt", SENTENCES[k : k + 6]) for k in (0, 6, 12))
    given = ["--file", sources, "--reference_file", one, two, "--num_candidates", 3]
    call("evaluate_paraphrase.py", model, *given, "--output", tmp_path / "measures.json")
    printed = capsys.readouterr().out
    measured = json.loads((tmp_path / "measures.json").read_text())
    assert printed.count("\n|") == 2 + 3 and printed.endswith("6 texts, 2 references of each\n")
    assert str(model) in measured and len(measured) == 4 and all(f"| {row} |" in printed for row in measured)
    rows = zip(SENTENCES[:6], SENTENCES[6:12], SENTENCES[12:18], strict=True)
    table = write_lines(tmp_path / "table.tsv", ["text\tone\ttwo", *map("\t".join, rows)])
    call("evaluate_paraphrase.py", model, "--file", table, "--reference_column", "one", "two", "--num_candidates", 3)
    assert capsys.readouterr().out == printed


def test_evaluate_detector_has_a_row_for_each_score(call, model, corpus, tmp_path, capsys):
    unusual = write_lines(tmp_path / "unusual.txt", ["xyzzy xyzzy", "pizza pizza pizza", "!!!"])
    texts = [part for name in ("normal", "held_out", "test") for part in (f"--{name}", corpus)]
    call("evaluate_detector.py", model, *texts, "--unusual", unusual, "--output", tmp_path / "scores.csv")
    rows = list(csv.DictReader((tmp_path / "scores.csv").open()))
    printed = capsys.readouterr().out
    assert {"bound", "neighbours_states", "unigram NLL"} <= {row["score"] for row in rows}
    assert all(0 <= float(row[name]) <= 1 for row in rows for name in ("auroc", "fpr_at_95"))
    assert all(f"| {row['score']} | {float(row['auroc']):.3f} |" in printed for row in rows)


@pytest.mark.parametrize("recipe", sorted(path.name for path in RECIPES.glob("*.py")))
def test_every_recipe_has_help_that_starts_with_its_docstring(call, recipe, capsys):
    with pytest.raises(SystemExit) as done:
        call(recipe, "--help")
    shown = capsys.readouterr().out
    assert done.value.code == 0
    docstring = runpy.run_path(str(RECIPES / recipe))["__doc__"]
    assert docstring.strip() in shown and f"recipes/{recipe}" in docstring


CONFIGS = sorted((RECIPES / "configs").glob("*.yaml"))


@pytest.mark.parametrize("config", [path.name for path in CONFIGS if "runs" not in read_yaml(path)])
def test_every_config_is_readable_and_says_how_it_is_run(config):
    path = RECIPES / "configs" / config
    assert (
        TrainingConfig.from_yaml(path).output_dir not in ("", TrainingConfig().output_dir) or config == "default.yaml"
    )
    assert read_yaml(path)
    assert f"recipes/configs/{config}" in path.read_text(encoding="utf-8").split("\n\n")[0]


def test_lengths_splits_a_file_and_loses_nothing(call, model, corpus, tmp_path, capsys):
    call("lengths.py", model, "--file", corpus, "--edges", 1, 6, 7, 30, "--output", tmp_path / "by_length")
    with (tmp_path / "by_length.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["from_words"], row["to_words"]) for row in rows] == [("1", "5"), ("6", "6"), ("7", "29")]
    assert sum(int(row["texts"]) for row in rows) == len(SENTENCES)
    assert capsys.readouterr().out.count(f"| {model} | ") == 3
    (one,) = [row for row in rows if row["from_words"] == "6"]
    texts = [text for text in SENTENCES if len(text.split()) == 6]
    report = TextVAEPipeline.from_pretrained(model, device="cpu").evaluate(
        texts, num_importance_samples=1, num_prior_samples=1
    )
    assert float(one["nats_per_token"]) == pytest.approx(report["reconstruction"] * len(texts) / report["num_tokens"])
    assert float(one["bleu"]) == pytest.approx(report["bleu"])
    assert (tmp_path / "by_length.png").read_bytes().startswith(b"\x89PNG")


def test_recipes_read_and_write_with_labels_and_targets(call, tmp_path, capsys):
    texts = SENTENCES[::4]
    rows = [f"{text}\t{text.upper()}\t{('calm', 'loud')[i % 2]}" for i, text in enumerate(texts)]
    table = write_lines(tmp_path / "moods.tsv", ["text\tshout\tmood", *rows])
    call(
        "train.py",
        "--config",
        RECIPES / "configs" / "tiny.yaml",
        "--train_file",
        table,
        "--label_column",
        "mood",
        "--target_column",
        "shout",
        "--output_dir",
        tmp_path / "run",
        *CUT_DOWN,
        "--max_steps",
        2,
        "--validation_split",
        0.2,
    )
    pipeline = TextVAEPipeline.from_pretrained(tmp_path / "run")
    capsys.readouterr()
    call("interpolate.py", tmp_path / "run", *texts[:2], "--num_steps", 3, "--label", "loud")
    assert capsys.readouterr().out.rstrip("\n").split("\n") == [
        line.rstrip("\n") for line in pipeline.interpolate(*texts[:2], num_steps=3, label="loud")
    ]
    call("paraphrase.py", tmp_path / "run", texts[0], "--num_return_sequences", 1, "--label", "calm")
    assert capsys.readouterr().out.startswith(texts[0])
    columns = ["--target_column", "shout", "--label_column", "mood"]
    call(
        "lengths.py", tmp_path / "run", "--file", table, *columns, "--edges", 1, 90, "--output", tmp_path / "by_length"
    )
    with (tmp_path / "by_length.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    pairs = {"text": texts, "target": [text.upper() for text in texts], "label": ["calm", "loud"] * 25}
    report = pipeline.evaluate(Dataset.from_dict(pairs), num_importance_samples=1, num_prior_samples=1)
    assert float(row["kl"]) == pytest.approx(report["kl"], rel=1e-4)
    assert float(row["bleu"]) == pytest.approx(report["bleu"], abs=1e-3)


def test_evaluate_computes_as_the_launcher_was_told(call, model, corpus, tmp_path, monkeypatch):
    arguments = [model, "--file", corpus, "--num_importance_samples", 2, "--num_reconstructed_texts", 2, "--output"]
    call("evaluate.py", *arguments, tmp_path / "asked", "--mixed_precision", "bf16")
    AcceleratorState._reset_state()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    call("evaluate.py", *arguments, tmp_path / "launched")
    AcceleratorState._reset_state()
    call("evaluate.py", *arguments, tmp_path / "overruled", "--mixed_precision", "no")
    asked, launched, overruled = (
        json.loads((tmp_path / name).read_text()) for name in ("asked", "launched", "overruled")
    )
    assert asked == launched != overruled


def test_evaluate_walks_measures_both_paths_and_one_that_needs_no_model(call, model, corpus, tmp_path, capsys):
    encoder = save_encoder(tmp_path / "encoder")
    options = ["--num_pairs", 6, "--num_steps", 3, "--judge_encoder", encoder, "--output", tmp_path / "rows.csv"]
    call("evaluate_walks.py", model, "--file", corpus, *options)
    assert "| spherical |" in capsys.readouterr().out
    with (tmp_path / "rows.csv").open(newline="") as file:
        found = {row["walk"]: row for row in csv.DictReader(file)}
    assert list(found) == ["linear", "spherical", "sentences of the file"]
    assert float(found["sentences of the file"]["walk_ends"]) == pytest.approx(1, abs=1e-4)
    assert found["linear"]["walk_ends"] == found["spherical"]["walk_ends"]


def test_evaluate_edit_measures_every_way_beside_what_needs_no_model(call, model, tmp_path, capsys):
    rows = [f"{text}\t{'plain' if text.endswith('.') else 'loud'}" for text in SENTENCES]
    rest = [f"indeed {row}" for row in rows]
    train, others = (write_lines(tmp_path / f"{n}.tsv", ["text\tlabel", *r]) for n, r in enumerate((rows, rest)))
    files = ["--file", train, "--train_file", train, "--classifier_file", others, "--strengths", 0, 2]
    encoder = save_encoder(tmp_path / "encoder")
    options = ["--num_texts", 10, "--num_candidates", 2, "--judge_encoder", encoder, "--output", tmp_path / "rows.csv"]
    call("evaluate_edit.py", model, *files, *options)
    printed = capsys.readouterr().out
    with (tmp_path / "rows.csv").open(newline="") as file:
        found = {row["edit"].replace(model.name, "model"): row for row in csv.DictReader(file)}
    ways = [f"model: {way}" for way in ("rebuilt", "mean 0", "mean 2", "logistic 0", "logistic 2")]
    assert list(found) == ["none", "word list", "nearest sentence", *ways]
    assert "The classifier is right on 1.000 of" in printed and printed.count("| ") > len(found)
    assert float(found["none"]["flips"]) == 0 and float(found["nearest sentence"]["flips"]) == 1
    rebuilt = {name: value for name, value in found["model: rebuilt"].items() if name != "edit"}
    assert all(rebuilt.items() <= found[f"model: {method} 0"].items() for method in ("mean", "logistic"))


def test_evaluate_samples_has_a_row_for_each_prior_and_two_to_compare_with(call, model, corpus, tmp_path, capsys):
    files = ["--train_file", corpus, "--file", corpus, "--priors", "standard", "gaussian", "mixture"]
    encoder = save_encoder(tmp_path / "encoder")
    options = ["--num_samples", 20, "--judge_encoder", encoder, "--output", tmp_path / "samples.csv"]
    call("evaluate_samples.py", model, *files, *options)
    printed = capsys.readouterr().out
    with (tmp_path / "samples.csv").open(newline="") as file:
        rows = {row["prior"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["standard", "gaussian", "mixture", "q(z∣x) of held-out texts", "real texts"]
    assert all(float(row["reverse_perplexity"]) > 1 and 0 <= float(row["mauve"]) <= 1 for row in rows.values())
    assert float(rows["gaussian"]["latent_nats"]) < float(rows["standard"]["latent_nats"])
    assert rows["real texts"]["latent_nats"] == "" and printed.count("| real texts |") == 2
    assert "mixture: fitted in" in printed and "gaussian: fitted in" not in printed  # training has


def test_factors_of_the_grammar_are_measured_for_each_run_of_a_sweep(call, tmp_path, capsys):
    base = {"max_steps": 2, "tokenizer": "word", "max_length": 12, "encoder": BERT, "decoder": GRU, "latent_size": 3}
    base |= {"mixed_precision": "no", "num_importance_samples": 1, "num_prior_samples": 2, "model_card_samples": False}
    runs = {"plain": {}, "told": {"label_column": "tense"}}
    (tmp_path / "sweep.yaml").write_text(json.dumps({"output_dir": "unused", "base": base, "runs": runs}))
    place, rows, again = (tmp_path / name for name in ("runs", "rows.csv", "again.csv"))
    sweep = ["--sweep_file", tmp_path / "sweep.yaml", "--output_dir", place, "--num_texts", 60]
    call("evaluate_factors.py", *sweep, "--factors", "tense", "number", "--output", rows)
    before = contents(place)
    found = {row["model"]: row for row in csv.DictReader(rows.open(newline=""))}
    assert list(found) == ["plain", "told", "told, less the mean of p(z∣c)"]
    assert all(0 <= float(row[name]) <= 1 for row in found.values() for name in ("tense", "number", "mig", "sap"))
    assert found["told"]["kl"] == found["told, less the mean of p(z∣c)"]["kl"]
    assert f"{float(found['plain']['mig']):.3f} |" in capsys.readouterr().out

    files = ["--train_file", place / "train.csv", "--test_file", place / "test.csv", "--num_texts", 60]
    factors = ["--factors", "tense", "number"]
    call("evaluate_factors.py", place / "plain-seed0", *files, *factors, "--output", again)
    (row,) = csv.DictReader(again.open(newline=""))
    assert row | {"model": "plain"} == found["plain"]
    assert contents(place) == before


def test_digits_are_texts_whose_plane_is_drawn(call, tmp_path, capsys):
    small = ["--encoder", json.dumps(BERT), "--decoder", json.dumps(GRU), "--num_importance_samples", 1]
    small += ["--num_prior_samples", 2, "--num_reconstructed_texts", 2, "--max_steps", 2, "--eval_steps", 2]
    call("digits.py", "--output_dir", tmp_path / "runs" / "digits", *small)
    assert "5 nearest neighbours in z tell" in capsys.readouterr().out
    assert (tmp_path / "runs" / "digits" / "plane.png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader((tmp_path / "runs" / "digits.valid.csv").open(newline="")))
    assert len(rows) == 360 and {row["digit"] for row in rows} == set("0123456789")
    recipe = runpy.run_path(str(RECIPES / "digits.py"))
    assert all(recipe["as_text"](16 * recipe["as_image"](row["text"])) == row["text"] for row in rows)
    first, last = recipe["plane"](3)[[0, -1]].tolist()
    assert first == [-last[0], -last[1]] and first[0] < 0 < first[1]  # the top left corner


def test_evaluate_infill_measures_models_beside_what_needs_none(call, corpus, tmp_path, capsys):
    tokenizer, model = train_word_tokenizer(SENTENCES), tmp_path / "words"
    parts = {"encoder": {**BERT, "vocab_size": len(tokenizer)}, "decoder": {**GRU, "vocab_size": len(tokenizer)}}
    TextVAEPipeline(TextVAEModel(TextVAEConfig(**parts, latent_size=3)), tokenizer, 20).save_pretrained(model)
    judge, output = save_decoder(tmp_path / "decoder"), tmp_path / "rows.csv"
    few = ["--num_texts", 4, "--num_beams", 2, "--max_gap_tokens", 2, "--num_rounds", 1, "--judge", judge]
    call("evaluate_infill.py", model, "--file", corpus, "--train_file", corpus, *few, "--output", output)
    printed = capsys.readouterr().out
    with output.open(newline="") as file:
        found = {row["filled by"]: row for row in csv.DictReader(file)}
    assert list(found) == ["what was deleted", "trigrams", "left to right", model.name]
    assert printed.count("| ") > len(found) and float(found["what was deleted"]["exact"]) == 1
    assert all(0 <= float(row["exact"]) <= float(row["exact_of_all"]) <= 1 for row in found.values())
    assert all(float(row["fluency"]) > 0 and float(row["bleu"]) > 0 for row in found.values())


def test_evaluate_denoise_measures_every_way_at_every_noise(call, model, corpus, tmp_path, capsys):
    files = ["--file", corpus, "--train_file", corpus, "--output", tmp_path / "rows.csv"]
    call("evaluate_denoise.py", model, *files, "--num_texts", 4, "--closeness", 1000, "--shares", 0.3)
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = ["drop", "mask", "substitute", "shuffle", "typos"]
    assert list(dict.fromkeys(row["noise"] for row in rows)) == kinds
    ways = {"as it is", "trigrams, closeness 1000", "denoise, closeness 1000"}
    assert all({row["way"] for row in rows if row["noise"] == kind} >= ways for kind in kinds)
    assert capsys.readouterr().out.count("| ") > len(rows)
    found = {(row["noise"], row["way"]): row["word_accuracy"] for row in rows}
    assert found["shuffle", "trigrams, closeness 1000"] == found["shuffle", "as it is"]


MISTAKES = {
    "no such prior": (
        "evaluate_samples.py",
        ["{model}", *("--train_file", "{corpus}", "--file", "{corpus}", "--priors", "gausian")],
        "did you mean 'gaussian'",
    ),
    "no such file": ("train.py", ["--train_file", "nowhere.txt"], "nowhere.txt"),
    "no such column": ("train.py", ["--train_file", "{table}", "--text_column", "txt"], "text_id, words"),
    "no such target": (
        "train.py",
        ["--train_file", "{table}", "--text_column", "words", "--target_column", "word"],
        "--target_column one of text_id, words",
    ),
    "target in a txt": ("evaluate.py", ["{model}", "--file", "{corpus}", "--target_column", "to"], "no targets"),
    "one part": ("train.py", ["--decoder_name_or_path", "{model}", "--freeze_encoder"], "encoder_name_or_path"),
    "no such part": (
        "train.py",
        ["--train_file", "{corpus}", "--encoder_name_or_path", "nowhere", "--decoder_name_or_path", "nowhere"],
        "nowhere",
    ),
    "unknown flag": ("train.py", ["--learning_rte", "1"], "'--learning_rate'"),
    "unknown key": ("train.py", ["--config", "{yaml}"], "'latent_size'"),
    "no such config": ("train.py", ["--config", "nowhere.yaml"], "nowhere.yaml"),
    "size of zero": ("train.py", ["--latent_size", "0"], "latent_size"),
    "finished run": ("train.py", ["--train_file", "{corpus}", "--output_dir", "{model}"], "--overwrite_output_dir"),
    "other architecture": (
        "train.py",
        [
            "--train_file",
            "{corpus}",
            "--output_dir",
            "{model}",
            "--resume_from_checkpoint",
            "latest",
            "--max_length",
            "24",
        ],
        "another architecture",
    ),
    "nothing to evaluate": ("evaluate.py", ["{model}", "--file", "nowhere.txt"], "nowhere.txt"),
    "one text to evaluate": ("evaluate.py", ["{model}", "--file", "{line}"], "2 texts"),
    "no such judge": ("evaluate.py", ["{model}", "--file", "{corpus}", "--judge", "nowhere"], "nowhere"),
    "no such encoder for a run": (
        "train.py",
        ["--train_file", "{corpus}", "--output_dir", "new", "--judge_encoder", "nowhere"],
        "nowhere",
    ),
    "no samples": (
        "evaluate.py",
        ["{model}", "--file", "{corpus}", "--num_importance_samples", "0"],
        "importance_samples",
    ),
    "no such output": ("evaluate.py", ["{model}", "--file", "{corpus}", "--output", "no/where.json"], "no/where.json"),
    "output is a directory": (
        "evaluate.py",
        ["{model}", "--file", "{corpus}", "--output", "{model}"],
        "is a directory",
    ),
    "partial output is a directory": (
        "evaluate.py",
        ["{model}", "--file", "{corpus}", "--output", "{directory}"],
        "directory.partial is a directory",
    ),
    "unreadable file": ("evaluate.py", ["{model}", "--file", "{unreadable}"], "unreadable.txt"),
    "merge into a file": ("merge.py", ["{model}", "{corpus}"], "is a file"),
    "seed below 0": ("paraphrase.py", ["{model}", "I like it .", "--seed", "-1"], "seed is -1"),
    "seed that is no number": ("evaluate.py", ["{model}", "--file", "{corpus}", "--seed", "one"], "seed must be"),
    "no texts in a group": ("lengths.py", ["{model}", "--file", "{corpus}", "--texts_per_group", "0"], "is 0"),
    "values of another evaluation": (
        "evaluate.py",
        ["{model}", "--file", "{corpus}", "--output", "{scores}"],
        "scores.json.partial belongs to another evaluation",
    ),
    "output over the corpus": (
        "evaluate.py",
        ["{model}", "--file", "{corpus}", "--output", "{corpus}"],
        "than results",
    ),
    "no model": ("evaluate.py", ["nowhere", "--file", "{corpus}"], "nowhere"),
    "no beams": ("interpolate.py", ["{model}", "I like it .", "we like it .", "--num_beams", "0"], "num_beams is 0"),
    "no steps": ("interpolate.py", ["{model}", "I like it .", "we like it .", "--num_steps", "0"], "num_steps"),
    "lengths that fall": ("lengths.py", ["{model}", "--file", "{corpus}", "--edges", "5", "3"], "must be two or more"),
    "no text so long": ("lengths.py", ["{model}", "--file", "{corpus}", "--edges", "90", "99"], "No group"),
    "no such folder": ("lengths.py", ["{model}", "--file", "{corpus}", "--output", "no/where"], "no/where"),
    "no texts": ("paraphrase.py", ["{model}"], "--file"),
    "no references": ("evaluate_paraphrase.py", ["{model}", "--file", "{corpus}"], "--reference_column"),
    "references of other texts": (
        "evaluate_paraphrase.py",
        ["{model}", "--file", "{corpus}", "--reference_file", "{line}"],
        "line.txt has 1 rows",
    ),
    "measures over the corpus": (
        "evaluate_paraphrase.py",
        ["{model}", "--file", "{corpus}", "--reference_file", "{corpus}", "--output", "{corpus}"],
        "than results",
    ),
    "no encoder": ("evaluate_walks.py", ["{model}", "--file", "{corpus}"], "--judge_encoder"),
    "no labels": (
        "evaluate_edit.py",
        ["{model}", *("--file", "{corpus}", "--train_file", "{corpus}", "--classifier_file", "{corpus}")],
        "label",
    ),
    "no normal texts": ("evaluate_detector.py", ["{model}"], "--normal"),
    "pyod without an encoder": (
        "evaluate_detector.py",
        [
            *("{model}", "--normal", "{corpus}", "--held_out", "{corpus}", "--test", "{corpus}"),
            *("--unusual", "{corpus}", "--pyod_detector", "KNN"),
        ],
        "give --judge_encoder",
    ),
    "a misspelt file": (
        "evaluate_latents.py",
        ["{model}", "--train_file", "{corpus}", "--test_file", "{corpus}", "--tset_file", "{corpus}"],
        "did you mean '--test_file'",
    ),
    "no factors": ("evaluate_factors.py", ["{model}", "--train_file", "{corpus}"], "--factors"),
    "factors that are no column": (
        "evaluate_factors.py",
        ["{model}", *("--train_file", "{table}", "--test_file", "{table}", "--text_column", "words", "--factors", "x")],
        "text_id, words",
    ),
    "a plane of three dimensions": ("digits.py", ["--latent_size", "3"], "latent_size 2"),
    "no long texts": ("evaluate_infill.py", ["{model}", "--file", "{line}"], "6 words"),
    "blank text": ("paraphrase.py", ["{model}", "  "], "blank"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    call, model, corpus, unreadable, tmp_path, monkeypatch, capsys, kind
):
    recipe, arguments, told = MISTAKES[kind]
    (tmp_path / "table.csv").write_text("text_id,words\n" + "1,some words\n" * 9)
    (tmp_path / "run.yaml").write_text("latent_sise: 3\n")
    (tmp_path / "line.txt").write_text("Only this.\n")
    (tmp_path / "scores.json.partial").write_text('{"seed": 1}\n')
    (tmp_path / "directory.partial").mkdir()
    places = {
        "directory": tmp_path / "directory",
        "unreadable": unreadable,
        "model": model,
        "corpus": corpus,
        "table": tmp_path / "table.csv",
        "yaml": tmp_path / "run.yaml",
        "line": tmp_path / "line.txt",
        "scores": tmp_path / "scores.json",
    }
    before, here = contents(model), contents(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        call(recipe, *(argument.format(**places) for argument in arguments))
    sentence = capsys.readouterr().err.removesuffix("\n").split("\n")[-1]
    assert done.value.code == 2
    assert sentence.startswith("error: ") and told in sentence and sentence.endswith((".", "?"))
    assert contents(model) == before and contents(tmp_path) == here, "nothing lost, nothing written"
