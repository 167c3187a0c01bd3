"""CollapseMonitor: it measures what it says, warns once where z is not used, and changes nothing."""

import logging
import logging.handlers
import math
from copy import deepcopy

import pytest
import torch
from accelerate import Accelerator
from tiny_runs import (
    BERT,
    GRU,
    SENTENCES,
    assert_same_checkpoint,
    config,
    logged,
    write_lines,
)

from textvae import TextVAEPipeline
from textvae.data.special_tokens import IGNORED
from textvae.training.collapse import FAILED_CHECKS, RECENT_BATCHES, CollapseMonitor, remedies
from textvae.training.config import TrainingConfig
from textvae.training.train import train

EIGHT = SENTENCES[3::25]
BRIEF = {"num_reconstructed_texts": 2, "num_importance_texts": 2, "num_importance_samples": 1}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


@pytest.fixture
def watch():
    """(total steps, steps of an epoch, settings) → a monitor."""
    return lambda total_steps=100, steps_per_epoch=10, **settings: CollapseMonitor(
        Accelerator(), TrainingConfig(**settings), total_steps, steps_per_epoch
    )


def labelled(batch):
    return {**batch, "labels": batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)}


def show(monitor, model, batches):
    """The last batch, and the outputs of all, after the monitor has seen them."""
    outputs = []
    for batch in batches:
        outputs.append(model(**batch))
        monitor.add(outputs[-1])
    return batches[-1], outputs


# what it measures


def joined(outputs, name):
    return torch.cat([output[name] for output in outputs]).detach().double()


def information_by_hand(mean, logvar, latents):
    total = 0.0
    for z, own_mean, own_logvar in zip(latents, mean, logvar, strict=True):
        density = torch.distributions.Normal(own_mean, (own_logvar / 2).exp()).log_prob(z).sum()
        of_all = torch.distributions.Normal(mean, (logvar / 2).exp()).log_prob(z).sum(-1)
        total += density - (of_all.logsumexp(0) - math.log(len(mean)))
    return float(total / len(mean))


@pytest.fixture
def outputs_and_values(watch, make_model, make_texts):
    """Of three batches, the last one smaller."""
    monitor, model = watch(), make_model().train()
    lengths = [[9, 4, 6, 7], [5, 5, 3, 8], [4, 6, 5]]
    batches = [labelled(make_texts(each, seed=seed)) for seed, each in enumerate(lengths)]
    torch.manual_seed(0)
    last, outputs = show(monitor, model, batches)
    return model, last, outputs, monitor.check(model, last, step=3)


def test_kl_active_units_and_information_are_those_of_the_latest_texts(outputs_and_values):
    _, _, outputs, values = outputs_and_values
    mean, logvar, latents = (joined(outputs, name) for name in ("mean", "logvar", "latents"))
    assert values["kl"] == pytest.approx(float(joined(outputs, "kl").sum(-1).mean()), rel=1e-5)
    assert values["active_units"] == int((mean.var(0) >= 0.01).sum()) > 0
    assert values["mutual_information"] == pytest.approx(information_by_hand(mean, logvar, latents), rel=1e-4)


def test_the_worth_of_z_is_what_reconstruction_loses_with_the_z_of_the_text_before(outputs_and_values):
    model, last, outputs, values = outputs_and_values
    *_, before = outputs[-2].latents
    others = torch.stack([before, *outputs[-1].latents[:-1]])
    with torch.no_grad():
        own, shuffled = (model.eval().reconstruction(z, last["labels"]) for z in (outputs[-1].latents, others))
    assert values["shuffle_gap"] == pytest.approx(float((shuffled - own).mean()), rel=1e-4)
    assert abs(values["shuffle_gap"]) > 0.01


def test_a_batch_of_one_text_has_a_worth_too(watch, make_model, make_texts):
    monitor, model = watch(), make_model()
    last, (first, second) = show(monitor, model, [labelled(make_texts([6], seed=seed)) for seed in (0, 1)])
    with torch.no_grad():
        own, other = (model.reconstruction(output.latents, last["labels"]) for output in (second, first))
    assert monitor.check(model, last, step=2)["shuffle_gap"] == pytest.approx(float(other - own), rel=1e-4)
    assert abs(float(other - own)) > 0.01


def test_only_the_latest_batches_count(watch, make_model, make_texts):
    model, long, short = make_model(), watch(), watch()
    batches = [labelled(make_texts([5, 6], seed=seed)) for seed in range(RECENT_BATCHES + 4)]
    last, outputs = show(long, model, batches)
    for output in outputs[-RECENT_BATCHES:]:
        short.add(output)
    assert long.check(model, last, step=20) == short.check(model, last, step=20)
    short.add(outputs[0]), short.add(outputs[-1])
    assert long.check(model, last, step=20) != short.check(model, last, step=20)


def test_a_check_draws_nothing_and_leaves_the_model_in_training(watch, make_model, make_texts):
    monitor, model = watch(), make_model(decoder_changes={"dropout": 0.3}).train()
    last, _ = show(monitor, model, [labelled(make_texts([9, 4, 6]))])
    state = torch.get_rng_state()
    values = monitor.check(model, last, step=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and all(parameter.grad is None for parameter in model.parameters())
    assert monitor.check(model, last, step=2) == values, "without dropout"


def test_it_changes_nothing_in_training(corpus, tmp_path):
    changes = {
        "decoder": {**GRU, "dropout": 0.2},
        "encoder": {**BERT, "hidden_dropout_prob": 0.1},
        "word_dropout": 0.2,
        "mmd_weight": 1.0,
    }
    for name, monitor_steps in (("watched", 1), ("unwatched", None)):
        train(config(corpus, tmp_path / name, **BRIEF, **changes, monitor_steps=monitor_steps, beta=20.0))
    assert_same_checkpoint(tmp_path / "watched" / "checkpoint-6", tmp_path / "unwatched" / "checkpoint-6")


def test_the_trackers_get_its_values(corpus, tmp_path):
    train(config(corpus, tmp_path, **BRIEF, monitor_steps=3, logging_steps=3, report_to=["tensorboard"]))
    values = {
        name: logged(tmp_path, f"monitor/{name}")
        for name in ("kl", "active_units", "mutual_information", "shuffle_gap")
    }
    assert all([step for step, _ in pairs] == [3, 6] for pairs in values.values())
    dimensions = [logged(tmp_path, f"monitor/kl_of_dimension_{d}")[0][1] for d in range(6)]
    assert values["kl"][0][1] == pytest.approx(sum(dimensions), rel=1e-5)
    assert values["kl"][0][1] == pytest.approx(logged(tmp_path, "kl")[0][1], rel=1e-5), "the same 48 texts"
    assert values["mutual_information"][0][1] <= min(math.log(48), values["kl"][0][1] + 0.1)


# when it warns


def warnings_of(caplog):
    return [record.message for record in caplog.records if "collapsing" in record.message]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    """The directory and the pipeline of a run that learns eight texts by heart."""
    directory = tmp_path_factory.mktemp("healthy")
    texts = write_lines(directory / "eight.txt", EIGHT)
    changes = {
        "validation_file": str(texts),
        "per_device_train_batch_size": 8,
        "max_steps": 150,
        "eval_steps": 150,
        "learning_rate": 0.02,
        "beta": 0.01,
        "monitor_steps": 30,
        "kl_schedule": "constant",
    }
    handler = logging.handlers.BufferingHandler(100)
    logging.getLogger("textvae").addHandler(handler)
    pipeline = train(config(texts, directory / "run", **BRIEF, **changes, report_to=["tensorboard"]))
    logging.getLogger("textvae").removeHandler(handler)
    return directory / "run", pipeline, [record.getMessage() for record in handler.buffer]


def attentive(model):
    return model


def deaf(model):
    """Its decoder is told nothing of z."""
    with torch.no_grad():
        model.injection.to_prefix.weight.zero_()
    return model


@pytest.fixture
def eight(healthy):
    """A batch of the texts that the healthy model knows."""
    return labelled(dict(healthy[1].tokenizer(EIGHT, padding=True, return_tensors="pt")))


@pytest.fixture
def checks(watch, healthy, eight, caplog):
    """(kinds of model, first step) → the number of warnings after each check of one of them."""

    def checks(kinds, first_step=50):
        monitor, counts = watch(), []
        for step, kind in enumerate(kinds, start=first_step):
            model = kind(deepcopy(healthy[1].model))
            show(monitor, model, [eight])
            monitor.check(model, eight, step)
            counts.append(len(warnings_of(caplog)))
        return counts

    return checks


def test_it_warns_once_of_a_decoder_that_ignores_z(checks):
    assert FAILED_CHECKS == 3 and checks([deaf] * 6) == [0, 0, 1, 1, 1, 1]


def test_a_decoder_that_uses_z_is_left_in_peace(checks):
    assert checks([attentive] * 6) == [0] * 6


def test_failures_count_only_in_a_row(checks):
    assert checks([deaf, deaf, attentive, deaf, deaf, deaf]) == [0, 0, 0, 0, 0, 1]


def test_it_is_quiet_in_the_first_tenth_of_the_steps(checks):
    assert checks([deaf] * 7, first_step=5) == [0, 0, 0, 0, 0, 1, 1]


def test_a_posterior_without_active_units_is_warned_of_whatever_z_is_worth(watch, healthy, eight, caplog):
    monitor, model = watch(), healthy[1].model
    for step in range(50, 53):
        output = model(**eight)
        output.mean = torch.zeros_like(output.mean)
        monitor.add(output)
        values = monitor.check(model, eight, step)
        assert values["active_units"] == 0 and values["shuffle_gap"] > 1
    assert len(warnings_of(caplog)) == 1


def test_a_run_that_collapses_is_told_so_with_what_would_help(corpus, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "textvae"):
        train(
            config(
                corpus,
                tmp_path,
                **BRIEF,
                beta=50.0,
                kl_schedule="constant",
                max_steps=12,
                monitor_steps=1,
                learning_rate=0.02,
            )
        )
    (message,) = warnings_of(caplog)
    assert message.startswith("The posterior is collapsing: KL ") and " of 6 units active, z worth " in message
    assert message.endswith(" epochs; try free_bits: 0.25 or kl_target: 10.")


def test_a_healthy_run_is_told_nothing(healthy):
    output_dir, _, messages = healthy
    gaps = logged(output_dir, "monitor/shuffle_gap")
    assert [step for step, _ in gaps] == [30, 60, 90, 120, 150] and gaps[-1][1] > 3
    assert not [message for message in messages if "collapsing" in message]


# what it proposes


def test_no_remedy_is_one_that_the_run_has_already():
    nothing = {"free_bits": 0.0, "beta": 1.0, "word_dropout": 0.0}
    everything = {"free_bits": 0.25, "kl_target": 10.0, "beta": 0.3, "word_dropout": 0.3}
    all_of_them = remedies(TrainingConfig(**nothing))
    assert [remedy.split(":")[0] for remedy in all_of_them] == [*everything, "a smaller decoder"]
    for name, value in everything.items():
        left = remedies(TrainingConfig(**{**nothing, name: value}))
        assert left == [remedy for remedy in all_of_them if not remedy.startswith(f"{name}:")]
    assert remedies(TrainingConfig(**everything)) == ["a smaller decoder"]


def test_every_remedy_is_a_setting_that_a_config_takes():
    for remedy in remedies(TrainingConfig(free_bits=0.0, beta=1.0))[:-1]:
        name, value = remedy.split(": ")
        assert getattr(TrainingConfig.from_dict({name: value}), name) == float(value)


def test_a_saved_model_without_z_is_seen_to_be_one(corpus, tmp_path, caplog):
    """As one trained by somebody else."""
    pipeline = train(config(corpus, tmp_path / "first", **BRIEF, max_steps=1))
    TextVAEPipeline(deaf(pipeline.model), pipeline.tokenizer, 20).save_pretrained(tmp_path / "deaf")
    caplog.clear()
    train(
        config(
            corpus,
            tmp_path / "second",
            **BRIEF,
            model_name_or_path=str(tmp_path / "deaf"),
            learning_rate=1e-9,
            monitor_steps=1,
            max_steps=5,
        )
    )
    (message,) = warnings_of(caplog)
    assert "z worth 0.0 nats" in message or "z worth -0.0 nats" in message
