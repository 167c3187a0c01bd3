"""bf16 where it pays: chosen by measurement, and said where it was asked for and does not."""

import logging

import pytest
import torch

from textvae.training.config import TrainingConfig
from textvae.training.precision import bf16_cost, choose_mixed_precision, warn_of_slow_bf16

CPU = torch.device("cpu")


@pytest.fixture
def bf16_is_slow():
    cost = bf16_cost()
    if 0.6 < cost < 1.5:
        pytest.skip(f"bf16 costs {cost:.2f} times what fp32 does here: too near to tell")
    return cost > 1


@pytest.mark.parametrize(
    "settings", [{"mixed_precision": "bf16"}, {"mixed_precision": "no", "weights_dtype": "bfloat16"}]
)
def test_slow_bf16_is_said_by_the_setting_that_asks_for_it(settings, bf16_is_slow, caplog):
    warn_of_slow_bf16(settings, CPU)
    *_, (name, value) = settings.items()
    said = [f"leave {name} {value} out" in message for message in caplog.messages]
    assert said == ([True] if bf16_is_slow else [])


def test_nothing_is_said_where_none_asks_or_there_is_another_device(caplog):
    caplog.set_level(logging.DEBUG)
    warn_of_slow_bf16({"mixed_precision": "no", "weights_dtype": "float32"}, CPU)
    warn_of_slow_bf16({"mixed_precision": "fp16"}, CPU)
    warn_of_slow_bf16({"mixed_precision": "bf16"}, torch.device("cuda"))
    assert not caplog.messages


def test_auto_takes_bf16_only_where_it_is_faster(bf16_is_slow, monkeypatch):
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    assert choose_mixed_precision(TrainingConfig()) == ("no" if bf16_is_slow or torch.cuda.is_available() else "bf16")


def test_what_is_asked_for_is_taken(monkeypatch):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert choose_mixed_precision(TrainingConfig()) == "fp16"
    assert choose_mixed_precision(TrainingConfig(mixed_precision="no")) == "no"
