"""train(): resumed equals uninterrupted, bit for bit; what it leaves, what it refuses, and what it never overwrites."""

import json
import math
import os
import shutil
import sys

import pytest
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from tiny_runs import (
    BERT,
    GPT2,
    GRU,
    PROGRESS,
    SENTENCES,
    Killed,
    assert_same_checkpoint,
    assert_same_state,
    config,
    contents,
    in_a_step,
    kill_in_a_step,
    logged,
    refusal,
    results,
    resume,
    weights,
    write_lines,
)

from textvae import InputError, TextVAEModel, TextVAEPipeline
from textvae.training.checkpoints import checkpoints_in
from textvae.training.config import TrainingConfig
from textvae.training.train import train

pytestmark = pytest.mark.slow

TRAIN = sys.modules["textvae.training.train"]  # the name is that of a function, too


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


@pytest.fixture
def optimizer_steps(monkeypatch):
    """(gradients, learning rate) at each optimizer step, as the optimizer sees them."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(self, *args, **kwargs):
        gradients = [p.grad.flatten().clone() for group in self.param_groups for p in group["params"]]
        seen.append((torch.cat(gradients), self.param_groups[0]["lr"]))
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    return seen


# interrupted and resumed


EVERYTHING_RANDOM = {
    "decoder": {**GRU, "dropout": 0.2},
    "encoder": {**BERT, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
    "word_dropout": 0.2,
    "noise_drop": 0.1,
    "noise_mask": 0.1,
    "noise_substitute": 0.1,
    "noise_shuffle": 2,
    "free_bits": 0.02,
    "kl_schedule": "cyclical",
    "kl_num_cycles": 2,
    "weight_decay": 0.01,
    "gradient_accumulation_steps": 2,
    "max_steps": 20,  # of 6 an epoch
    "eval_steps": 3,
    "save_steps": 4,
    "logging_steps": 1,
}


@pytest.fixture(scope="module")
def uninterrupted(corpus, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("uninterrupted")
    train(config(corpus, output_dir, **EVERYTHING_RANDOM))
    return output_dir


def at_a_rename(monkeypatch, source, occurrence):
    replace, seen = os.replace, []

    def killed(old, new):
        if os.path.basename(old) == source:
            seen.append(old)
            if len(seen) == occurrence:
                raise Killed
        return replace(old, new)

    monkeypatch.setattr(os, "replace", killed)


KILLS = {
    # After checkpoint-8 and the start of the second epoch, with one evaluation and two steps since.
    "in a step": lambda patch: in_a_step(patch, 10),
    "before the first checkpoint is whole": lambda patch: at_a_rename(patch, ".checkpoint-4.unfinished", 1),
    "while a checkpoint is written": lambda patch: at_a_rename(patch, ".checkpoint-12.unfinished", 1),
    "before the best model moves": lambda patch: at_a_rename(patch, "best", 2),
    "while the best model moves": lambda patch: at_a_rename(patch, ".best.unfinished", 3),
    "while the results are written": lambda patch: patch.setattr(TRAIN, "write_report", killed_at_once),
}


def killed_at_once(*_, **__):
    raise Killed


@pytest.mark.parametrize("kill", KILLS)
def test_a_run_killed_and_resumed_equals_one_that_was_not(corpus, tmp_path, uninterrupted, monkeypatch, kill):
    run = config(corpus, tmp_path, **EVERYTHING_RANDOM)
    with monkeypatch.context() as patch:
        KILLS[kill](patch)
        with pytest.raises(Killed):
            train(run)
    assert not (tmp_path / "metrics.json").exists()
    torch.manual_seed(99)  # a new process has another random state
    if kill == "before the first checkpoint is whole":
        assert not checkpoints_in(tmp_path) and "holds an unfinished run" in refusal(run)
        run.overwrite_output_dir = True  # there is nothing to go on from but a model
    else:
        run.resume_from_checkpoint = "latest"
    train(run)
    names = {path.name for path in checkpoints_in(tmp_path)}
    assert names == {path.name for path in checkpoints_in(uninterrupted)} == {"checkpoint-16", "checkpoint-20"}
    for name in names:
        assert_same_checkpoint(tmp_path / name, uninterrupted / name)
    assert_same_state(weights(tmp_path), weights(uninterrupted))
    assert results(tmp_path) == results(uninterrupted)
    assert contents(tmp_path).keys() == contents(uninterrupted).keys(), "nothing unfinished is left"


def test_these_runs_depend_on_every_random_state(corpus, tmp_path, uninterrupted, monkeypatch):
    """What the test above rests on: dropout alone makes another model of another torch seed."""
    set_seed = torch.manual_seed
    monkeypatch.setattr("textvae.training.setup.set_seed", lambda seed, **_: set_seed(seed + 1))
    train(config(corpus, tmp_path, **EVERYTHING_RANDOM))
    assert not torch.equal(
        weights(tmp_path)["decoder.model.embed_tokens.weight"],
        weights(uninterrupted)["decoder.model.embed_tokens.weight"],
    )


def test_a_streamed_run_resumes_as_exactly(corpus, tmp_path, monkeypatch):
    train(config(corpus, tmp_path / "tokenizer", max_steps=1))
    settings = {**EVERYTHING_RANDOM, "streaming": True, "tokenizer": str(tmp_path / "tokenizer")}
    train(config(corpus, tmp_path / "whole", **settings))
    cut = config(corpus, tmp_path / "cut", **settings)
    kill_in_a_step(cut, 10, monkeypatch)
    resume(cut)
    assert_same_checkpoint(tmp_path / "cut" / "checkpoint-20", tmp_path / "whole" / "checkpoint-20")
    assert results(tmp_path / "cut") == results(tmp_path / "whole")


def test_a_finished_run_can_be_made_longer(corpus, tmp_path):
    first = config(corpus, tmp_path, max_steps=4)
    train(first)
    before = results(tmp_path)
    train(config(corpus, tmp_path, max_steps=8, learning_rate=1e-9, resume_from_checkpoint="latest"))
    after = results(tmp_path)
    assert (before["steps"], after["steps"]) == (4, 8)
    assert after["negative_elbo"] <= before["negative_elbo"] + 1e-6
    train(config(corpus, tmp_path, max_steps=8, resume_from_checkpoint="latest"))  # nothing is left to do
    assert results(tmp_path) == after


def test_the_seconds_of_all_sessions_are_counted(corpus, tmp_path):
    train(config(corpus, tmp_path, max_steps=2))
    progress = torch.load(tmp_path / "checkpoint-2" / PROGRESS, weights_only=False)
    measured = json.loads((tmp_path / "metrics.json").read_text())["training_seconds"]
    assert 0 < progress["seconds"] <= measured + 0.05
    manifest = tmp_path / "checkpoint-2" / "checkpoint.json"
    content = json.loads(manifest.read_text())
    content["about"]["seconds"] = 1000.0  # where older versions kept them
    manifest.write_text(json.dumps(content))
    train(config(corpus, tmp_path, max_steps=4, resume_from_checkpoint="latest"))
    after = torch.load(tmp_path / "checkpoint-4" / PROGRESS, weights_only=False)["seconds"]
    measured = json.loads((tmp_path / "metrics.json").read_text())["training_seconds"]
    assert 1000 + progress["seconds"] < after <= measured + 0.05 < 1100


def test_a_resumed_run_learns_at_the_rate_it_is_told(corpus, tmp_path, optimizer_steps):
    train(config(corpus, tmp_path, max_steps=4, save_steps=2, lr_scheduler_type="constant", learning_rate=1e-3))
    again = config(
        corpus,
        tmp_path,
        max_steps=4,
        lr_scheduler_type="constant",
        learning_rate=1e-4,
        resume_from_checkpoint=str(tmp_path / "checkpoint-2"),
    )
    train(again)
    assert [rate for _, rate in optimizer_steps] == [1e-3] * 4 + [1e-4] * 2


def test_a_run_resumes_with_its_own_corpus_wherever_that_lies_and_with_no_other(corpus, tmp_path):
    shared = {"max_steps": 2, "eval_steps": 10}
    train(config(corpus, tmp_path / "run", **shared))
    before = contents(tmp_path / "run")
    goes_on = {"max_steps": 4, "resume_from_checkpoint": "latest"}
    for other in (SENTENCES[:-1], [*SENTENCES[:-1], "one word less"]):
        file = write_lines(tmp_path / "other.txt", other)
        message = refusal(config(file, tmp_path / "run", **shared | goes_on))
        assert f"of a corpus of {len(SENTENCES) * 9 // 10} texts" in message
        assert f"--config {tmp_path / 'run' / 'training_config.yaml'}" in message
        assert contents(tmp_path / "run") == before
    moved = shutil.copy(corpus, tmp_path / "moved.txt")
    train(config(moved, tmp_path / "run", **shared | goes_on))
    assert results(tmp_path / "run")["steps"] == 4


def test_the_best_model_of_a_run_without_a_checkpoint_is_not_thrown_away(corpus, tmp_path, monkeypatch):
    run = config(corpus, tmp_path / "run", eval_steps=2, save_steps=6, logging_steps=1)
    kill_in_a_step(run, 4, monkeypatch)
    before = contents(tmp_path / "run")
    assert "best/model.safetensors" in before
    assert "holds an unfinished run" in refusal(run)
    assert contents(tmp_path / "run") == before


@pytest.mark.parametrize("name", ["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"])
def test_a_model_of_whatever_kind_is_not_replaced_unasked(corpus, tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).write_text("another's")
    assert "--overwrite_output_dir or another --output_dir" in refusal(config(corpus, tmp_path / "run"))
    assert contents(tmp_path / "run") == {name: b"another's"}


def test_a_best_model_that_was_moving_when_the_run_was_killed_is_found_again(corpus, tmp_path):
    shared = {"eval_steps": 2, "save_steps": 2, "num_reconstructed_texts": 3}
    train(config(corpus, tmp_path / "run", max_steps=2, **shared))
    shutil.copytree(
        tmp_path / "run", tmp_path / "run" / ".best.old", ignore=shutil.ignore_patterns("checkpoint-*", ".*")
    )
    for name in ("metrics.json", "README.md", "model.safetensors"):
        (tmp_path / "run" / name).unlink()
    kept = weights(tmp_path / "run" / ".best.old")
    train(config(corpus, tmp_path / "run", max_steps=4, learning_rate=30.0, resume_from_checkpoint="latest", **shared))
    assert_same_state(weights(tmp_path / "run"), kept)  # nothing after it was better


def test_a_run_over_another_leaves_none_of_its_weights_beside_the_new_tokenizer(corpus, tmp_path, monkeypatch):
    run = config(corpus, tmp_path / "run", max_steps=2, eval_steps=2)
    train(run)
    run.overwrite_output_dir, run.logging_steps = True, 1
    kill_in_a_step(run, 1, monkeypatch)
    left = set(contents(tmp_path / "run"))
    assert not left & {"model.safetensors", "config.json", "metrics.json", "README.md"} and "tokenizer.json" in left


def test_a_run_resumes_with_a_rate_for_the_part_that_had_one(corpus, tmp_path):
    train(config(corpus, tmp_path, max_steps=2, encoder_learning_rate=1e-4))
    other = {"decoder_learning_rate": 1e-4, "max_steps": 4, "resume_from_checkpoint": "latest"}
    assert "another set of learning rates" in refusal(config(corpus, tmp_path, **other))


# what a run leaves


@pytest.fixture(scope="module")
def finished(corpus, tmp_path_factory):
    """A run with a report, a tracker and several checkpoints."""
    output_dir = tmp_path_factory.mktemp("runs") / "finished"
    pipeline = train(
        config(
            corpus,
            output_dir,
            max_steps=40,
            eval_steps=10,
            save_steps=10,
            save_total_limit=2,
            report_to=["tensorboard"],
            learning_rate=0.02,
            beta=0.2,
            kl_schedule="constant",
            decoder={"dropout": 0.1, **GRU},
            model_card_samples=True,
            card_examples=True,
            language="en",
            license="apache-2.0",
        )
    )
    return output_dir, pipeline


@pytest.fixture
def run_dir(finished, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(finished[0], tmp_path / "finished")


def test_it_opens_and_is_what_train_gave_back(finished):
    output_dir, pipeline = finished
    opened = TextVAEPipeline.from_pretrained(output_dir, device="cpu")
    assert_same_state(opened.model.state_dict(), pipeline.model.state_dict())
    assert opened.reconstruct(SENTENCES[:5]) == pipeline.reconstruct(SENTENCES[:5])
    assert opened.max_length == pipeline.max_length == 20
    assert not pipeline.model.training


def test_the_metrics_have_the_names_the_documentation_has(finished):
    report = json.loads((finished[0] / "metrics.json").read_text())
    named = {
        "negative_elbo",
        "iw_nll",
        "kl",
        "mutual_information",
        "active_units",
        "shuffle_gap",
        "perplexity_token",
        "perplexity_word",
        "exact_match",
        "bleu",
    }
    counts = {"num_texts", "num_importance_samples", "num_importance_texts", "num_reconstructed_texts", "steps"}
    assert named | counts <= report.keys()
    assert all(math.isfinite(value) for value in report.values())
    assert report["num_texts"] == len(SENTENCES) // 10 and report["num_importance_samples"] == 3
    assert report["negative_elbo"] == pytest.approx(report["reconstruction"] + report["kl"])
    assert report["mutual_information"] <= min(report["kl"] + 1, math.log(report["num_texts"]))
    assert report["perplexity_word"] <= report["perplexity_token"] ** 3


def test_the_model_card_shows_what_the_model_can_do(finished):
    card = (finished[0] / "README.md").read_text(encoding="utf-8")
    report = json.loads((finished[0] / "metrics.json").read_text())
    assert card.startswith("---\n") and f"| negative_elbo | {report['negative_elbo']:,.2f} ± " in card
    sections = {
        title.split("\n")[0].rstrip("*"): [line for line in title.split("\n") if line.startswith("- ")]
        for title in card.split("\n**")[1:]
    }
    shown = {
        kind: [lines for title, lines in sections.items() if title.startswith(kind)]
        for kind in ("Reconstructions", "Prior samples", "From", "Paraphrases")
    }
    assert [len(lines) for lines in shown["Reconstructions"]] == [5]
    assert [len(lines) for lines in shown["Prior samples"]] == [5]
    assert [len(lines) for lines in shown["From"]] == [7, 7]
    assert [len(lines) for lines in shown["Paraphrases"]] == [5, 5]
    assert all(line.removeprefix("- ").split(" → ")[0] in SENTENCES for line in shown["Reconstructions"][0])


def test_the_facts_of_the_model_card_are_those_the_hub_reads(finished):
    data = ModelCard.load(finished[0] / "README.md").data
    assert (data.library_name, data.pipeline_tag, data.language) == ("textvae", "text-generation", "en")
    assert data.license == "apache-2.0" and data.base_model is data.datasets is None  # no name of the Hub was given
    report = json.loads((finished[0] / "metrics.json").read_text())
    measured = {result.metric_type: result.metric_value for result in data.eval_results}
    assert measured.keys() == {"iw_nll", "negative_elbo", "perplexity_word", "bleu", "exact_match"}
    assert all(value == pytest.approx(report[name], abs=1e-4) for name, value in measured.items())


def test_without_samples_the_model_card_has_the_table_alone(finished, corpus, tmp_path):
    train(config(corpus, tmp_path, max_steps=1))
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    body = card.split("\n---\n")[1]
    assert "| negative_elbo | " in body and "**" not in body and "\n- " not in body
    assert results(finished[0]).keys() == results(tmp_path).keys()


def test_only_the_newest_checkpoints_and_no_second_model_stay(finished):
    assert [path.name for path in checkpoints_in(finished[0])] == ["checkpoint-30", "checkpoint-40"]
    assert not [path for path in finished[0].iterdir() if path.name.startswith((".", "best"))]


def test_the_best_model_by_validation_is_the_one_that_is_kept(finished):
    output_dir, _ = finished
    validated = logged(output_dir, "validation_negative_elbo")
    assert [step for step, _ in validated] == [10, 20, 30, 40]
    assert results(output_dir)["negative_elbo"] == pytest.approx(min(value for _, value in validated), rel=1e-5)


def test_the_tracker_gets_what_the_bar_shows(finished):
    for name in ("loss", "reconstruction", "kl", "beta", "active_units", "tokens_per_second", "learning_rate"):
        values = logged(finished[0], name)
        assert [step for step, _ in values] == [10, 20, 30, 40] and all(math.isfinite(value) for _, value in values)
    losses, *terms = (logged(finished[0], name) for name in ("loss", "reconstruction", "kl"))
    for (_, loss), (_, reconstruction), (_, kl) in zip(losses, *terms, strict=True):
        assert loss == pytest.approx(reconstruction + 0.2 * kl, rel=1e-4)
    assert losses[-1][1] < losses[0][1]


def test_the_settings_are_kept_with_the_run(finished, corpus):
    kept = TrainingConfig.from_yaml(finished[0] / "training_config.yaml")
    assert kept.train_file == [str(corpus)] and kept.max_steps == 40 and kept.decoder["dropout"] == 0.1


def test_every_validation_is_told_and_the_best_so_far_marked(corpus, tmp_path, capsys):
    run = config(corpus, tmp_path / "run", max_steps=6, eval_steps=2, report_to=["tensorboard"])
    train(run)
    told = [line for line in capsys.readouterr().err.replace("\r", "\n").split("\n") if ", validation: " in line]
    validated = logged(tmp_path / "run", "validation_negative_elbo")
    assert (
        [line.split(",")[0] for line in told]
        == [f"step {step}" for step, _ in validated]
        == ["step 2", "step 4", "step 6"]
    )
    for number, (line, (_, value)) in enumerate(zip(told, validated, strict=True)):
        assert f"−ELBO {value:.2f} (rec " in line
        assert line.endswith("the best so far") == (value < min([v for _, v in validated[:number]], default=math.inf))


def test_texts_in_memory_are_a_corpus_too(corpus, finished, tmp_path):
    for texts in (SENTENCES, Dataset.from_dict({"text": SENTENCES})):
        directory = tmp_path / type(texts).__name__
        run = config(corpus, directory, max_steps=2)
        from_file = config(corpus, tmp_path / f"{directory.name}-file", max_steps=2)
        run.train_file = None
        train(run, texts)
        train(from_file)
        assert_same_state(weights(directory), weights(tmp_path / f"{directory.name}-file"))
    both = config(corpus, tmp_path / "both")
    with pytest.raises(InputError, match="Both texts and the train_file"):
        train(both, SENTENCES)


def test_early_stopping_keeps_the_best_of_those_it_saw(corpus, tmp_path):
    eight = write_lines(tmp_path / "eight.txt", SENTENCES[:8])
    others = write_lines(tmp_path / "others.txt", SENTENCES[100:140])
    run = config(
        eight,
        tmp_path / "run",
        validation_file=str(others),
        max_steps=400,
        eval_steps=5,
        early_stopping_patience=2,
        learning_rate=0.02,
        report_to=["tensorboard"],
        tokenizer="word",
        per_device_train_batch_size=8,
    )
    train(run)
    validated = [value for _, value in logged(tmp_path / "run", "validation_negative_elbo")]
    best = validated.index(min(validated))
    assert len(validated) == best + 1 + 2, "two evaluations without a better one, and no more"
    assert results(tmp_path / "run")["steps"] == 5 * len(validated) < 400
    assert results(tmp_path / "run")["negative_elbo"] == pytest.approx(validated[best], rel=1e-5)


# one step


def test_gradients_at_the_optimizer_are_within_the_limit(corpus, tmp_path, optimizer_steps):
    train(config(corpus, tmp_path / "limited", max_grad_norm=0.01))
    train(config(corpus, tmp_path / "free", max_grad_norm=1e9))
    norms = [float(gradients.norm()) for gradients, _ in optimizer_steps]
    assert len(norms) == 12
    assert max(norms[:6]) <= 0.01 * (1 + 1e-4)
    assert min(norms[6:]) > 0.1


@pytest.fixture(scope="module")
def noiseless(finished, tmp_path_factory):
    """A model whose posterior is so narrow that z is its mean, and the noise of a batch plays no part."""
    path = tmp_path_factory.mktemp("models") / "noiseless"
    pipeline = TextVAEPipeline.from_pretrained(finished[0], device="cpu")
    pipeline.model.config.min_logvar = pipeline.model.config.max_logvar = -80.0
    pipeline.model.config.decoder.dropout = 0.0
    pipeline.save_pretrained(path)
    return path


@pytest.mark.parametrize("num_texts, batch_size, accumulated", [(16, 8, 2), (13, 5, 3)])
def test_accumulated_micro_batches_equal_one_batch(
    tmp_path, noiseless, optimizer_steps, num_texts, batch_size, accumulated
):
    """Also where the last one is smaller, and each text must still count the same."""
    texts = write_lines(tmp_path / "texts.txt", SENTENCES[::7][:num_texts])
    shared = {
        "model_name_or_path": str(noiseless),
        "validation_file": str(texts),
        "max_steps": 3,
        "learning_rate": 1e-5,
        "free_bits": 0.1,
        "free_bits_mode": "text",
        "max_grad_norm": 1e9,
    }
    train(config(texts, tmp_path / "one", per_device_train_batch_size=num_texts, **shared))
    train(
        config(
            texts,
            tmp_path / "many",
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulated,
            **shared,
        )
    )
    one, many = optimizer_steps[:3], optimizer_steps[3:]
    for (left, _), (right, _) in zip(one, many, strict=True):
        assert left.norm() > 0.1
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-5 * float(left.norm()))


def test_gradient_checkpointing_changes_no_gradient(corpus, tmp_path, optimizer_steps):
    for checkpointing in (False, True):
        train(
            config(
                corpus, tmp_path / str(checkpointing), decoder=GPT2, max_steps=3, gradient_checkpointing=checkpointing
            )
        )
    plain, checkpointed = optimizer_steps[:3], optimizer_steps[3:]
    for (left, _), (right, _) in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("decoder", [GRU, GPT2])
def test_either_attention_gives_the_same_gradients(corpus, tmp_path, optimizer_steps, decoder):
    for name in ("eager", "sdpa"):
        train(config(corpus, tmp_path / name, decoder=decoder, max_steps=3, attn_implementation=name))
    (eager, _), (sdpa, _) = optimizer_steps[0], optimizer_steps[3]
    torch.testing.assert_close(eager, sdpa, rtol=1e-4, atol=1e-6)
    assert not torch.equal(eager, sdpa)  # the order of the sums tells that they were two


def test_attention_that_cannot_be_had_is_refused(corpus, tmp_path):
    told = refusal(config(corpus, tmp_path, attn_implementation="flash"))
    assert "attn_implementation 'flash'" in told and "give eager or sdpa" in told


@pytest.mark.parametrize(
    "changes, steps",
    [
        ({"num_train_epochs": 1}, 12),  # 180 texts in batches of 16: 11 whole ones and one of 4
        ({"num_train_epochs": 2, "gradient_accumulation_steps": 5}, 5),  # 24 batches in fives
        ({"num_train_epochs": 0.25}, 3),
        ({"num_train_epochs": 3, "max_steps": 2}, 2),
        ({"num_train_epochs": None, "gradient_accumulation_steps": 2}, 7),  # least, where 0.5 epochs are 3
        ({"num_train_epochs": None, "per_device_train_batch_size": 8}, 12),  # 0.5 epochs of 23, more than least
    ],
)
def test_the_number_of_steps_is_a_ceiling(corpus, tmp_path, optimizer_steps, monkeypatch, changes, steps):
    monkeypatch.setattr("textvae.training.batches.LEAST_DEFAULT_STEPS", 7)
    train(config(corpus, tmp_path, **{"max_steps": None, **changes}))
    assert results(tmp_path)["steps"] == len(optimizer_steps) == steps


@pytest.mark.parametrize(("batch_size", "epochs", "steps"), [(2, 3, [180, 270]), (16, 2, [24])])
def test_an_epoch_ends_with_an_evaluation_and_short_ones_in_groups_of_100_steps(
    corpus, tmp_path, batch_size, epochs, steps
):
    length = {"max_steps": None, "num_train_epochs": epochs, "per_device_train_batch_size": batch_size}
    train(config(corpus, tmp_path, **length, report_to=["tensorboard"], monitor_steps=None))
    assert [step for step, _ in logged(tmp_path, "validation_kl")] == steps


def test_the_learning_rate_climbs_and_then_falls_to_the_end(corpus, tmp_path, optimizer_steps):
    train(config(corpus, tmp_path, max_steps=10, warmup_ratio=0.4, learning_rate=0.01))
    rates = [rate for _, rate in optimizer_steps]
    wanted = [0, 0.0025, 0.005, 0.0075, *(0.01 * (10 - step) / 6 for step in range(4, 10))]
    assert rates == pytest.approx(wanted)


def test_the_kl_weight_follows_its_schedule(corpus, tmp_path):
    run = config(
        corpus,
        tmp_path,
        max_steps=8,
        kl_schedule="linear",
        kl_warmup=0.5,
        beta=0.8,
        logging_steps=1,
        report_to=["tensorboard"],
    )
    train(run)
    assert [value for _, value in logged(tmp_path, "beta")] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 0.8])


# kinds of runs


@pytest.mark.parametrize("decoder", [GRU, GPT2], ids=["gru", "gpt2"])
def test_eight_sentences_are_learnt_by_heart(tmp_path, decoder):
    texts = SENTENCES[3::25]
    file = write_lines(tmp_path / "eight.txt", texts)
    train(
        config(
            file,
            tmp_path / "run",
            validation_file=str(file),
            decoder=decoder,
            per_device_train_batch_size=8,
            max_steps=500,
            eval_steps=500,
            learning_rate=0.01,
            beta=0.01,
            kl_schedule="constant",
        )
    )
    assert len(texts) == 8
    assert TextVAEPipeline.from_pretrained(tmp_path / "run").reconstruct(texts) == texts
    assert results(tmp_path / "run")["exact_match"] == 1


def test_fine_tuning_starts_from_the_saved_model_and_keeps_its_tokenizer(finished, tmp_path):
    source, _ = finished
    mine = write_lines(
        tmp_path / "mine.txt", [f"the cat {verb} milk ." for verb in "drinks likes hates sees".split()] * 5
    )
    kept = contents(source)
    tuned = train(config(mine, tmp_path / "tuned", model_name_or_path=str(source), max_steps=2, learning_rate=1e-7))
    for name, value in weights(tmp_path / "tuned").items():
        torch.testing.assert_close(value, weights(source)[name], rtol=0, atol=1e-6)
    assert tuned.tokenizer.get_vocab() == TextVAEPipeline.from_pretrained(source).tokenizer.get_vocab()
    assert contents(source) == kept
    better = train(config(mine, tmp_path / "better", model_name_or_path=str(source), max_steps=40, learning_rate=0.02))
    assert sum(better.score(["the cat likes milk ."])) < sum(tuned.score(["the cat likes milk ."]))


def test_a_sentencepiece_tokenizer_is_trained_on_the_corpus(corpus, tmp_path):
    pipeline = train(config(corpus, tmp_path, tokenizer="sentencepiece", vocab_size=300, max_length=48, max_steps=2))
    assert len(pipeline.tokenizer) == pipeline.model.config.decoder.vocab_size <= 300
    assert pipeline.tokenizer.decode(pipeline.tokenizer("we like pizza .").input_ids, skip_special_tokens=True)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl"])
def test_tables_are_trained_on_too(tmp_path, kind):
    path = tmp_path / f"table.{kind}"
    if kind == "jsonl":
        path.write_text("".join(json.dumps({"id": i, "words": text}) + "\n" for i, text in enumerate(SENTENCES)))
    else:
        tab = "\t" if kind == "tsv" else ","
        path.write_text(f"id{tab}words\n" + "".join(f"{i}{tab}{text}\n" for i, text in enumerate(SENTENCES)))
    pipeline = train(config(path, tmp_path / "run", text_column="words", max_steps=1))
    assert results(tmp_path / "run")["num_texts"] == len(SENTENCES) // 10
    assert {"pizza", "sister", "nobody"} <= pipeline.tokenizer.get_vocab().keys()


def test_two_runs_of_one_process_may_differ_in_precision(corpus, tmp_path):
    """As in a notebook."""
    for name, precision in (("first", "no"), ("second", "bf16"), ("third", "no")):
        train(config(corpus, tmp_path / name, mixed_precision=precision, max_steps=3))
    assert_same_state(weights(tmp_path / "first"), weights(tmp_path / "third"))
    difference = (
        weights(tmp_path / "first")["decoder.model.embed_tokens.weight"]
        - weights(tmp_path / "second")["decoder.model.embed_tokens.weight"]
    )
    assert 0 < float(difference.abs().max()) < 0.05


def test_a_seed_decides_a_run(corpus, tmp_path):
    for name, seed in (("first", 3), ("again", 3), ("other", 4)):
        torch.manual_seed(len(name))
        train(config(corpus, tmp_path / name, seed=seed, max_steps=2))
    assert_same_state(weights(tmp_path / "first"), weights(tmp_path / "again"))
    assert not torch.equal(
        weights(tmp_path / "first")["decoder.model.embed_tokens.weight"],
        weights(tmp_path / "other")["decoder.model.embed_tokens.weight"],
    )


# what is refused


BAD_FILES = {
    "missing": (None, "There is no file"),
    "empty": (b"", "is empty"),
    "blank": (b" \n\t\n", "holds no text"),
    "one line": (b"Only this.\n", "holds one text"),
    "two lines": (b"Only this.\nAnd this.\n", "validation texts"),
    "binary": (bytes(range(256)) * 9, "binary"),
    "latin-1": ("Où est-il passé ?\n".encode("latin-1") * 9, "UTF-8"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_corpus_that_cannot_be_used(tmp_path, kind):
    content, told = BAD_FILES[kind]
    path = tmp_path / "texts.txt"
    if content is not None:
        path.write_bytes(content)
    assert told in refusal(config(path, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_wrong_column_is_answered_with_the_right_ones(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("id,words\n" + "1,some words here\n" * 9)
    message = refusal(config(path, tmp_path / "run", text_column="sentence"))
    assert "'sentence'" in message and "id, words" in message


BAD_SETTINGS = [
    ({"encoder": {"hiden_size": 8}}, ["encoder bert", "'hiden_size'", "'hidden_size'"]),
    ({"decoder": {**GPT2, "n_layers": 2}}, ["decoder gpt2", "'n_layers'", "'n_layer'"]),
    ({"encoder": {"hidden_size": 10, "num_attention_heads": 3}}, ["10", "3", "attention heads"]),
    ({"encoder": {"num_attention_heads": 0}}, ["encoder", "zero"]),
    ({"encoder": {"hidden_size": "wide"}}, ["hidden_size"]),
    ({"decoder": {"hidden_size": -4}}, ["decoder"]),
    ({"encoder": {"model_type": "brt"}}, ["'brt'"]),
    ({"decoder": {"model_type": "bart-like"}}, ["'bart-like'"]),
    ({"decoder": {"model_type": "vit"}}, ["decoder"]),
    ({"pooling": "sum"}, ["pooling", "'sum'", "mean"]),
    ({"latent_injection": ["memory"]}, ["latent_injection", "memory", "prefix"]),
    ({"max_length": 65}, ["bert", "64 positions", "max_length 65"]),
    ({"encoder": {**BERT, "model_type": "roberta"}, "max_length": 64}, ["roberta", "63 positions", "max_length 64"]),
    ({"gradient_checkpointing": True, "latent_injection": "none"}, ["gradient_checkpointing is for transformers"]),
    ({"decoder": GPT2, "max_length": 64, "latent_injection": ["prefix"], "latent_tokens": 2}, ["gpt2", "64 + 2"]),
    ({"max_length": 1}, ["max_length"]),
    ({"tokenizer": "no/such/tokenizer"}, ["no/such/tokenizer"]),
    ({"model_name_or_path": "no/such/model"}, ["no/such/model"]),
    ({"report_to": ["tensorboad"]}, ["'tensorboad'", "tensorboard"]),
    ({"validation_split": 2.0}, ["validation_split"]),
    ({"resume_from_checkpoint": "latest"}, ["no checkpoint"]),
    ({"resume_from_checkpoint": "runs/none/checkpoint-3"}, ["runs/none/checkpoint-3"]),
]


@pytest.mark.parametrize("changes, told", BAD_SETTINGS)
def test_settings_that_cannot_be_used(corpus, tmp_path, changes, told):
    message = refusal(config(corpus, tmp_path / "run", **changes))
    assert all(part in message for part in told), message
    assert not (tmp_path / "run").exists()


def test_fine_tuning_needs_room_for_its_texts(finished, corpus, tmp_path):
    message = refusal(config(corpus, tmp_path / "run", model_name_or_path=str(finished[0]), max_length=65))
    assert "64 positions" in message


def test_fine_tuning_needs_a_text_vae(corpus, tmp_path):
    model = tmp_path / "bert"
    from transformers import BertConfig, BertModel

    BertModel(BertConfig(**{name: value for name, value in BERT.items() if name != "model_type"})).save_pretrained(
        model
    )
    assert "bert model and no text VAE" in refusal(config(corpus, tmp_path / "run", model_name_or_path=str(model)))


# what is never lost


def test_a_finished_run_is_not_overwritten_unasked(corpus, run_dir):
    before = contents(run_dir)
    assert "overwrite_output_dir" in refusal(config(corpus, run_dir))
    assert contents(run_dir) == before


@pytest.mark.parametrize("name", ["README.md", "model.safetensors"])
def test_neither_is_a_directory_with_work_of_another_kind(corpus, tmp_path, name):
    (tmp_path / name).write_text("mine")
    assert "another --output_dir" in refusal(config(corpus, tmp_path))
    assert contents(tmp_path) == {name: b"mine"}


def test_a_file_is_no_output_directory(corpus, tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "is a file" in refusal(config(corpus, tmp_path / "file"))
    refusal(config(corpus, tmp_path / "file" / "below"))
    assert (tmp_path / "file").read_text() == "mine"


def test_an_unfinished_run_is_to_be_resumed(corpus, run_dir):
    for name in ("metrics.json", "README.md", "model.safetensors"):
        (run_dir / name).unlink()
    before = contents(run_dir)
    assert "unfinished run: give --resume_from_checkpoint latest" in refusal(config(corpus, run_dir))
    assert contents(run_dir) == before


MISTAKES_WHILE_OVERWRITING = [
    {"train_file": "missing.txt"},
    {"encoder": {"hidden_size": 9}},
    {"tokenizer": "no/such/tokenizer"},
    {"report_to": ["nobody"]},
]


@pytest.mark.parametrize("mistake", MISTAKES_WHILE_OVERWRITING)
def test_a_mistake_while_overwriting_costs_nothing(corpus, run_dir, mistake):
    before = contents(run_dir)
    refusal(config(corpus, run_dir, overwrite_output_dir=True, **mistake))
    assert contents(run_dir) == before


def test_overwriting_is_a_fresh_start(corpus, run_dir, tmp_path):
    train(config(corpus, tmp_path / "fresh", max_steps=3))
    train(config(corpus, run_dir, max_steps=3, overwrite_output_dir=True))
    assert [path.name for path in checkpoints_in(run_dir)] == ["checkpoint-3"]
    assert_same_state(weights(run_dir), weights(tmp_path / "fresh"))
    assert results(run_dir) == results(tmp_path / "fresh")


@pytest.mark.parametrize(
    "changes, named",
    [
        ({"latent_size": 7}, "latent_size"),
        ({"decoder": {**GRU, "hidden_size": 24}}, "decoder"),
        ({"pooling": "max"}, "pooling"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(corpus, run_dir, changes, named):
    before = contents(run_dir)
    message = refusal(config(corpus, run_dir, resume_from_checkpoint="latest", max_steps=50, **changes))
    assert "another architecture" in message and named in message
    assert contents(run_dir) == before


def test_a_corrupt_checkpoint_is_refused_and_the_one_before_it_resumes(corpus, run_dir):
    latest = run_dir / "checkpoint-40" / "optimizer.bin"
    latest.write_bytes(latest.read_bytes()[:-20])
    before = contents(run_dir)
    settings = {"max_steps": 42, "decoder": {"dropout": 0.1, **GRU}, "save_steps": 50}
    message = refusal(config(corpus, run_dir, resume_from_checkpoint="latest", **settings))
    assert message.endswith(f"resume from {run_dir / 'checkpoint-30'} instead.")
    assert contents(run_dir) == before
    train(config(corpus, run_dir, resume_from_checkpoint=str(run_dir / "checkpoint-30"), **settings))
    assert [path.name for path in checkpoints_in(run_dir)] == ["checkpoint-30", "checkpoint-42"]


# a loss that is no number


def test_a_model_that_gives_no_number_stops_at_once(finished, corpus, tmp_path):
    pipeline = TextVAEPipeline.from_pretrained(finished[0], device="cpu")
    with torch.no_grad():
        pipeline.model.decoder.model.embed_tokens.weight.fill_(math.nan)
    pipeline.save_pretrained(tmp_path / "broken")
    run = config(corpus, tmp_path / "run", model_name_or_path=str(tmp_path / "broken"), logging_steps=3)
    assert "loss of micro-batch 0 became nan at step 0" in refusal(run)
    assert not checkpoints_in(tmp_path / "run")


def spoil_the_gradient_of(step, monkeypatch, value):
    """As an overflow in the backward pass does."""
    clip = torch.nn.utils.clip_grad_norm_
    seen = []

    def spoilt(parameters, *args, **kwargs):
        parameters = list(parameters)
        if len(seen) == step:
            parameters[0].grad.view(-1)[0] = value
        seen.append(step)
        return clip(parameters, *args, **kwargs)

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", spoilt)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_checkpoint_is_written_of_weights_that_a_bad_gradient_has_spoilt(corpus, tmp_path, monkeypatch, value):
    spoil_the_gradient_of(5, monkeypatch, value)
    run = config(corpus, tmp_path, save_steps=3, logging_steps=100, max_steps=12)
    message = refusal(run)  # the loss of step 5 itself is still finite, that of step 6 would come too late
    assert message.startswith("The gradient became") and "at step 5: " in message
    assert f"resume from {tmp_path / 'checkpoint-3'} " in message
    assert [path.name for path in checkpoints_in(tmp_path)] == ["checkpoint-3"]


def test_after_a_loss_that_is_no_number_the_last_good_checkpoint_goes_on(corpus, tmp_path, monkeypatch):
    settings = {
        "max_steps": 8,
        "save_steps": 1,
        "logging_steps": 4,
        "gradient_accumulation_steps": 2,
        "lr_scheduler_type": "constant",
    }
    train(config(corpus, tmp_path / "good", **settings))
    kill_in_a_step(config(corpus, tmp_path / "bad", **settings), 5, monkeypatch)
    wild = config(corpus, tmp_path / "bad", **settings, learning_rate=1e30, resume_from_checkpoint="latest")
    message = refusal(wild)  # step 4 makes the weights huge, step 5 finds no number
    assert "loss of micro-batch 10 became" in message and "at step 5" in message and "lower learning_rate" in message
    good = tmp_path / "bad" / "checkpoint-4"
    assert f"resume from {good} " in message
    train(config(corpus, tmp_path / "bad", **settings, resume_from_checkpoint=str(good)))
    assert_same_checkpoint(tmp_path / "bad" / "checkpoint-8", tmp_path / "good" / "checkpoint-8")
    assert_same_state(weights(tmp_path / "bad"), weights(tmp_path / "good"))


def test_a_validation_that_is_no_number_stops_the_run_too(corpus, tmp_path):
    message = refusal(config(corpus, tmp_path, max_steps=1, learning_rate=1e38, warmup_ratio=0))
    assert "validation −ELBO became" in message and "at step 1: start anew" in message
    assert not (tmp_path / "metrics.json").exists() and not checkpoints_in(tmp_path)


def test_the_model_itself_is_open_to_the_auto_classes(finished):
    from transformers import AutoModel

    assert type(AutoModel.from_pretrained(finished[0])) is TextVAEModel
