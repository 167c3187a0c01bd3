"""The techniques against collapse, in runs: each does what it promises, and resumed equals uninterrupted with all."""

import logging
import math
from itertools import islice

import pytest
import torch
from accelerate import Accelerator
from tiny_runs import (
    GRU,
    SENTENCES,
    Killed,
    assert_same_checkpoint,
    assert_same_state,
    config,
    in_a_step,
    logged,
    refusal,
    results,
    weights,
    write_lines,
)

from textvae import TextVAEPipeline
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.objectives.terms import maximum_mean_discrepancy
from textvae.training.batches import make_batches, read_random_batches
from textvae.training.checkpoints import checkpoints_in
from textvae.training.optimization import reset_decoder
from textvae.training.setup import read_corpus
from textvae.training.step import ENCODER_STEPS, MOST_ENCODER_STEPS, objective
from textvae.training.train import train

pytestmark = pytest.mark.slow

BRIEF = {"num_reconstructed_texts": 2, "num_importance_texts": 2, "num_importance_samples": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


def run(corpus, output_dir, **changes):
    return train(config(corpus, output_dir, **{**BRIEF, **changes}))


def kept(checkpoint, number):
    """What a checkpoint holds of the progress (1), the average (2) or the controller (3)."""
    return torch.load(checkpoint / f"custom_checkpoint_{number}.pkl", weights_only=False)


@pytest.fixture
def steps(monkeypatch):
    """Of each optimizer step: weights before and after, those that had a gradient, and those with a state before."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(self, *args, **kwargs):
        parameters = [p for group in self.param_groups for p in group["params"]]
        seen.append(
            {
                "before": [p.detach().clone() for p in parameters],
                "has_gradient": [p.grad is not None for p in parameters],
                "has_state": [bool(self.state.get(p)) for p in parameters],
            }
        )
        result = step(self, *args, **kwargs)
        seen[-1]["after"] = [p.detach().clone() for p in parameters]
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    return seen


def names_in_the_optimizer(model) -> list[str]:
    """Matrices first."""
    named = list(model.named_parameters())
    return [name for name, p in named if p.dim() > 1] + [name for name, p in named if p.dim() <= 1]


def by_name(pipeline, step) -> dict[str, dict]:
    names = names_in_the_optimizer(pipeline.model)
    return {what: dict(zip(names, values, strict=True)) for what, values in step.items()}


def reads_z(name: str) -> bool:
    return name.split(".")[0] in ("decoder", "injection", "to_bag_of_words")


# interrupted and resumed

NOISE = {
    **{"word_dropout": 0.2, "noise_drop": 0.1, "noise_mask": 0.1, "noise_substitute": 0.1, "noise_shuffle": 2},
    "noise_typos": 0.2,
}
COMBINED = {
    "pi, BN-VAE": {
        "kl_target": 2.0,
        "kl_controller_gain": 0.01,
        "mean_batch_norm": 0.5,
        "decoder": {**GRU, "dropout": 0.2, "weight_dropout": 0.3},
    },
    "MDR, δ-VAE, SWA, bag of words": {
        "kl_target": 5.0,
        "kl_controller": "mdr",
        "kl_controller_gain": 0.01,
        "committed_rate": 0.1,
        "weight_averaging": "swa",
        "swa_start": 0.2,
        "bag_of_words_weight": 0.5,
        "gradient_accumulation_steps": 2,
    },
    "aggressive, MMD": {
        "aggressive_encoder": True,
        "mmd_weight": 3.0,
        "decoder": {**GRU, "dropout": 0.2},
        "learning_rate": 1e-3,
        "max_steps": 6,
        "save_steps": 2,
        "eval_steps": 2,
    },
    "zero phase, reset, noise, EMA": {
        "kl_zero_phase": 0.5,
        "kl_reset_decoder": True,
        "weight_averaging": "ema",
        **NOISE,
    },
    "cyclical, reset, SWA": {
        "kl_schedule": "cyclical",
        "kl_num_cycles": 3,
        "kl_reset_decoder": True,
        "weight_averaging": "swa",
        "swa_start": 0.2,
    },
    "language model, EMA": {"latent_injection": "none", "weight_averaging": "ema", "word_dropout": 0.2},
}
TEN = {"max_steps": 10, "save_steps": 4, "eval_steps": 3, "logging_steps": 1, "monitor_steps": 3}


@pytest.mark.parametrize(("name", "killed_at"), [*((name, 5) for name in COMBINED), ("cyclical, reset, SWA", 9)])
def test_killed_and_resumed_equals_uninterrupted(corpus, tmp_path, monkeypatch, name, killed_at):
    changes = {**TEN, **COMBINED[name]}
    run(corpus, tmp_path / "whole", **changes)
    with monkeypatch.context() as patch:
        in_a_step(patch, killed_at)
        with pytest.raises(Killed):
            run(corpus, tmp_path / "cut", **changes)
    torch.manual_seed(99)
    run(corpus, tmp_path / "cut", **changes, resume_from_checkpoint="latest")
    checkpoints = [path.name for path in checkpoints_in(tmp_path / "whole")]
    assert [path.name for path in checkpoints_in(tmp_path / "cut")] == checkpoints
    for checkpoint in checkpoints:
        assert_same_checkpoint(tmp_path / "cut" / checkpoint, tmp_path / "whole" / checkpoint)
    assert_same_state(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    assert results(tmp_path / "cut") == results(tmp_path / "whole")
    last = tmp_path / "cut" / checkpoints[-1]
    assert (kept(last, 2)["num_averaged"] > 0) == ("weight_averaging" in changes)
    assert (last / "custom_checkpoint_3.pkl").exists() == ("kl_target" in changes)
    if "kl_target" in changes:
        assert kept(last, 3)["updates"] == 10 and kept(last, 3)["integral"] != 0


# the rate


@pytest.fixture(scope="module")
def noiseless(corpus, tmp_path_factory):
    """A model whose posterior is so narrow that z is its mean, and the noise of a batch plays no part."""
    path = tmp_path_factory.mktemp("models")
    pipeline = run(corpus, path / "first", max_steps=2)
    pipeline.model.config.min_logvar = pipeline.model.config.max_logvar = -20.0
    pipeline.save_pretrained(path / "noiseless")
    return path / "noiseless"


@pytest.mark.parametrize("kind", ["pi", "mdr"])
def test_the_controller_sees_the_kl_of_a_whole_step(tmp_path, noiseless, kind):
    """Four micro-batches, the last one smaller, are one batch of the same texts to it."""
    texts = write_lines(tmp_path / "texts.txt", SENTENCES[::7][:14])
    shared = {
        "model_name_or_path": str(noiseless),
        "validation_file": str(texts),
        "max_steps": 3,
        "kl_target": 58.0,
        "kl_controller": kind,
        "kl_controller_gain": 0.01,
        "learning_rate": 1e-4,
        "beta": 0.9,
    }
    run(texts, tmp_path / "one", per_device_train_batch_size=14, **shared)
    run(texts, tmp_path / "many", per_device_train_batch_size=4, gradient_accumulation_steps=4, **shared)
    one, many = (kept(tmp_path / name / "checkpoint-3", 3) for name in ("one", "many"))
    assert many.pop("kind") == one.pop("kind") == kind and many == pytest.approx(one, rel=1e-4)
    assert one["updates"] == 3 and one["mean_kl"] > 50 and 0 < abs(one["integral"]) < 0.9


def test_beta_is_what_the_controller_says_and_follows_the_kl(corpus, tmp_path):
    run(
        corpus,
        tmp_path,
        kl_target=20.0,
        kl_controller="mdr",
        kl_controller_gain=0.01,
        beta=0.8,
        max_steps=5,
        logging_steps=1,
        report_to=["tensorboard"],
    )
    betas, kls = ([value for _, value in logged(tmp_path, name)] for name in ("beta", "kl"))
    multiplier, expected = 0.0, []
    for kl in kls:
        expected.append(0.8 - multiplier)
        multiplier = max(0.0, multiplier + 0.01 * (20 - kl))
    assert betas == pytest.approx(expected, rel=1e-4) and betas[-1] < 0.5


def test_a_low_target_is_held(corpus, tmp_path):
    """pi takes the KL down to its target, which the same run without it is far above."""
    changes = {
        "max_steps": 100,
        "learning_rate": 0.01,
        "beta": 1.0,
        "lr_scheduler_type": "constant",
        "latent_injection": ["embedding"],
    }
    run(corpus, tmp_path / "free", **changes, kl_schedule="constant", kl_zero_phase=0.99)
    run(corpus, tmp_path / "held", **changes, kl_target=3.0, kl_controller_gain=0.01)
    assert results(tmp_path / "free")["kl"] > 6
    assert 2 < kept(tmp_path / "held" / "checkpoint-100", 3)["mean_kl"]
    assert results(tmp_path / "held")["kl"] == pytest.approx(3.0, abs=1.0)


def test_a_target_out_of_reach_is_told_at_the_end(corpus, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "textvae"):
        run(corpus, tmp_path / "missed", kl_target=1000.0, max_steps=2)
        run(corpus, tmp_path / "reached", kl_target=0.001, kl_controller="mdr", max_steps=2)
    (message,) = (record.message for record in caplog.records if "target rate" in record.message)
    assert message.startswith("The target rate of 1000 nats was not reached: ") and "lower kl_target, or use" in message


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"kl_target": 5.0}),
        ({"kl_target": 5.0}, {}),
        ({"kl_target": 5.0}, {"kl_target": 5.0, "kl_controller": "mdr"}),
    ],
)
def test_another_controller_cannot_go_on_from_a_checkpoint(corpus, tmp_path, before, after):
    run(corpus, tmp_path, max_steps=1, **before)
    message = refusal(config(corpus, tmp_path, **BRIEF, max_steps=2, resume_from_checkpoint="latest", **after))
    assert "kl_target" in message and "resume with what it was trained with" in message


def test_the_committed_rate_is_kept_by_a_run_that_would_have_none(corpus, tmp_path):
    run(corpus, tmp_path, committed_rate=0.2, beta=50.0, kl_schedule="constant", learning_rate=0.02, max_steps=40)
    assert 6 * 0.2 - 1e-4 <= results(tmp_path)["kl"] < 6 * 0.2 + 0.5


def test_the_encoder_does_not_learn_to_go_round_the_batch_norm(corpus, tmp_path):
    """By means of ever smaller variance, which at an ε of 1e-5 takes the KL to 0.1."""
    run(corpus, tmp_path, mean_batch_norm=0.8, kl_schedule="constant", max_steps=150, report_to=["tensorboard"])
    kls = [value for _, value in logged(tmp_path, "kl")]
    assert min(kls) > 0.995 * 6 * 0.8**2 / 2 > 0.95 * kls[-1], "at its bound, and never below it"


# the terms of the objective


def test_the_objective_adds_what_it_is_told_to(corpus, tmp_path, make_model, make_texts):
    output = make_model(bag_of_words=True)(**make_texts([9, 4, 6]))
    settings = config(corpus, tmp_path, bag_of_words_weight=0.3, mmd_weight=7.0)
    torch.manual_seed(5)
    found = objective(settings, output, 0.5, output.kl.mean(0))
    torch.manual_seed(5)
    discrepancy = maximum_mean_discrepancy(output.latents, torch.randn(3, 5))
    elbo = output.reconstruction.mean() + 0.5 * output.kl.sum(-1).mean()
    torch.testing.assert_close(found, elbo + 0.3 * output.bag_of_words.mean() + 7 * discrepancy)
    plain = objective(config(corpus, tmp_path), output, 0.5, output.kl.mean(0))
    torch.testing.assert_close(plain, elbo)


def test_the_bag_of_words_is_learnt(corpus, tmp_path):
    changes = {"max_steps": 40, "eval_steps": 40, "learning_rate": 0.02, "beta": 0.1, "bag_of_words_weight": 1.0}
    pipeline = run(corpus, tmp_path, **changes)
    batch = pipeline.tokenizer(SENTENCES, padding=True, return_tensors="pt")
    words = pipeline.model(batch.input_ids, batch.attention_mask).bag_of_words.sum() / batch.attention_mask.sum()
    assert words < 0.95 * math.log(len(pipeline.tokenizer)), "nats a word, which all the same cost without learning"


# the encoder ahead of the decoder


def test_the_encoder_alone_is_trained_before_each_step_of_the_aggressive_phase(corpus, tmp_path, steps):
    pipeline = run(corpus, tmp_path, aggressive_encoder=True, max_steps=3, weight_averaging="swa", swa_start=0.0)
    named = [by_name(pipeline, step) for step in steps]
    alone = [not step["has_gradient"]["decoder.model.embed_tokens.weight"] for step in named]
    runs = "".join("e" if is_alone else "|" for is_alone in alone).split("|")
    assert len(runs) == 4 and runs[-1] == ""
    assert all(len(each) % ENCODER_STEPS == 0 and 20 <= len(each) <= MOST_ENCODER_STEPS for each in runs[:3])
    for step, is_alone in zip(named, alone, strict=True):
        changed = {name for name, value in step["before"].items() if not torch.equal(value, step["after"][name])}
        assert changed == {name for name, has_gradient in step["has_gradient"].items() if has_gradient}
        assert all(reads_z(name) != has_gradient or not is_alone for name, has_gradient in step["has_gradient"].items())
        assert {"posterior.to_mean.weight", "posterior.to_logvar.weight"} < changed
    assert results(tmp_path)["steps"] == 3 and kept(tmp_path / "checkpoint-3", 2)["num_averaged"] == 3


def test_the_aggressive_phase_ends_once_z_holds_no_more_of_the_text(corpus, tmp_path, steps):
    pipeline = run(
        corpus,
        tmp_path,
        aggressive_encoder=True,
        max_steps=8,
        eval_steps=1,
        save_steps=1,
        beta=0.1,
        kl_schedule="constant",
        save_total_limit=9,
        learning_rate=0.005,
        report_to=["tensorboard"],
    )
    information = dict(logged(tmp_path, "validation_mutual_information"))
    is_aggressive, most = {0: True}, -float("inf")
    for step in range(1, 9):
        is_aggressive[step] = is_aggressive[step - 1] and information[step] > most
        most = max(most, information[step])
        assert kept(tmp_path / f"checkpoint-{step}", 1)["is_aggressive"] == is_aggressive[step]
    assert is_aggressive[2] and not is_aggressive[6], "both phases are there to be seen"
    alone = [not by_name(pipeline, step)["has_gradient"]["injection.to_prefix.weight"] for step in steps]
    after_encoder_steps = [alone[i - 1] if i else False for i, is_alone in enumerate(alone) if not is_alone]
    assert after_encoder_steps == [is_aggressive[step] for step in range(8)]


# a new decoder

RESET = {"kl_zero_phase": 0.5, "kl_reset_decoder": True, "max_steps": 6}


@pytest.mark.parametrize(
    "changes",
    [RESET, {**RESET, "kl_schedule": "cyclical", "kl_num_cycles": 2, "kl_zero_phase": 0, "bag_of_words_weight": 0.1}],
)
def test_at_the_reset_the_decoder_is_new_and_the_encoder_is_kept(corpus, tmp_path, steps, changes):
    pipeline = run(corpus, tmp_path, **changes)
    before, reset, *others = (by_name(pipeline, step) for step in (steps[2], steps[3], steps[1], steps[4], steps[5]))
    for name, value in before["after"].items():
        assert torch.equal(value, reset["before"][name]) != reads_z(name), name
        assert reset["has_state"][name] != reads_z(name), name
    assert all(all(step["has_state"].values()) for step in others), "there is one reset and no more"


def test_the_new_weights_depend_on_seed_and_step_alone(corpus, tmp_path, steps):
    """Not on what the decoder was, nor on the random numbers drawn before."""
    changes = {**RESET, "kl_schedule": "cyclical", "kl_num_cycles": 3, "kl_zero_phase": 0}
    pipeline = run(corpus, tmp_path / "first", **changes)
    run(corpus, tmp_path / "other rate", **changes, learning_rate=0.01)
    run(corpus, tmp_path / "other seed", **changes, seed=1)
    new = [by_name(pipeline, steps[i])["before"]["decoder.model.embed_tokens.weight"] for i in (2, 4, 8, 10, 14)]
    assert torch.equal(new[0], new[2]) and torch.equal(new[1], new[3])
    assert not torch.equal(new[0], new[1]) and not torch.equal(new[0], new[4])


def test_a_reset_draws_as_a_new_model_does_and_no_random_numbers_of_the_run(make_model):
    model = make_model(decoder="gpt2", latent_injection=["prefix", "embedding"], bag_of_words=True)
    optimizer = torch.optim.AdamW(model.parameters())
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    reset_decoder(model, optimizer, seed=11)
    assert torch.equal(torch.rand(4), expected)
    torch.manual_seed(11)
    new = type(model)(model.config).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, new[name]) == reads_z(name) or value.unique().numel() == 1, name
    assert model.decoder.lm_head.weight is model.decoder.transformer.wte.weight


# averaged weights


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_what_is_judged_and_kept_is_the_average(corpus, tmp_path, steps, kind):
    pipeline = run(
        corpus,
        tmp_path,
        weight_averaging=kind,
        swa_start=0.5,
        ema_decay=0.4,
        max_steps=8,
        eval_steps=8,
        learning_rate=0.02,
        report_to=["tensorboard"],
    )
    states = [by_name(pipeline, step)["after"] for step in steps]
    for name, value in pipeline.model.named_parameters():
        if kind == "swa":
            expected = sum(state[name] for state in states[4:]) / 4
        else:
            expected = states[0][name]
            for n, state in enumerate(states[1:], start=1):
                decay = min(0.4, n / (9 + n))
                expected = decay * expected + (1 - decay) * state[name]
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6, msg=name)
        assert not torch.equal(value, states[-1][name])
    ((_, validated),) = logged(tmp_path, "validation_negative_elbo")
    assert results(tmp_path)["negative_elbo"] == pytest.approx(validated, rel=1e-5)


def test_an_average_does_not_change_the_run(corpus, tmp_path):
    for kind in ("none", "swa", "ema"):
        run(corpus, tmp_path / kind, weight_averaging=kind, swa_start=0.0, max_steps=3)
    plain, *others = (weights(tmp_path / kind / "checkpoint-3") for kind in ("none", "swa", "ema"))
    assert all(torch.equal(value, other[name]) for other in others for name, value in plain.items())


def test_after_a_reset_the_average_begins_anew(corpus, tmp_path):
    run(corpus, tmp_path, **RESET, weight_averaging="swa", swa_start=0.0)
    assert kept(tmp_path / "checkpoint-6", 2)["num_averaged"] == 3


# a language model


def test_a_language_model_is_trained_evaluated_and_opened(corpus, tmp_path, caplog):
    pipeline = run(corpus, tmp_path, latent_injection="none", max_steps=60, learning_rate=0.02, monitor_steps=5)
    assert "collapsing" not in caplog.text, "there is no z to use"
    report = results(tmp_path)
    assert report["kl"] == report["active_units"] == 0 and report["mutual_information"] == pytest.approx(0, abs=1e-6)
    assert report["negative_elbo"] == pytest.approx(report["iw_nll"], rel=0.3)
    opened = TextVAEPipeline.from_pretrained(tmp_path, device="cpu")
    assert opened.model.encoder is None and opened.model.config.is_language_model
    assert opened.score(SENTENCES[:3]) == pytest.approx(pipeline.score(SENTENCES[:3]))
    assert sum(opened.score(SENTENCES[:1])) < sum(opened.score([" ".join(reversed(SENTENCES[0].split()))]))


# what is refused


def test_a_corpus_smaller_than_a_batch_is_refused(corpus, tmp_path):
    message = refusal(config(corpus, tmp_path / "run", per_device_train_batch_size=181))
    assert "180 training texts, fewer than a batch of 181: lower --per_device_train_batch_size" in message
    assert not (tmp_path / "run").exists()


def test_a_bag_of_words_needs_its_head(corpus, tmp_path, noiseless):
    run_of_it = config(corpus, tmp_path / "run", model_name_or_path=str(noiseless), bag_of_words_weight=0.5)
    assert "has no bag-of-words head: leave bag_of_words_weight out" in refusal(run_of_it)


def test_a_committed_rate_out_of_bounds_is_refused(corpus, tmp_path):
    assert "give a lower rate" in refusal(config(corpus, tmp_path / "run", committed_rate=20.0))


# the batches of the encoder alone


def test_the_encoder_alone_reads_batches_of_the_running_epoch(noiseless, corpus, tmp_path):
    """180 texts are 23 batches of 8 an epoch; in threes, steps do not end with it."""
    settings = config(corpus, tmp_path, per_device_train_batch_size=8, gradient_accumulation_steps=3, seed=5)
    pipeline = TextVAEPipeline.from_pretrained(noiseless, device="cpu")
    texts = tokenize_corpus(read_corpus(settings)["train"], TokenizerPair(pipeline.tokenizer), 20)
    batches = make_batches(settings, texts, TokenizerPair(pipeline.tokenizer), pipeline.model, Accelerator())
    for step, epoch in ((0, 0), (7, 0), (8, 1), (15, 1), (16, 2)):
        drawn, again = (list(islice(read_random_batches(settings, batches, step), 30)) for _ in range(2))
        assert_same_state(drawn, again)
        assert {len(of_a_step) for of_a_step in drawn} == {3}
        wanted = {batches[index]["noise"].numpy().tobytes() for index in range(23 * epoch, 23 * (epoch + 1))}
        found = {batch["noise"].numpy().tobytes() for of_a_step in drawn for batch in of_a_step}
        assert found <= wanted and len(found) > 15
    other = next(read_random_batches(settings, batches, 17))
    assert [batch["noise"].tolist() for batch in other] != [batch["noise"].tolist() for batch in drawn[0]]
