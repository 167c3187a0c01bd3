"""Settings that do not go together: no rule is dead, and each says so in one sentence."""

import re

import pytest

from textvae.errors import InputError
from textvae.training.checks import CORPUS, TECHNIQUES, TRAINABLE, Check, _length, _parts, _trainable_parts
from textvae.training.config import TrainingConfig

RULES = [*CORPUS, *_parts(), *_length(), *TRAINABLE, *_trainable_parts(), *TECHNIQUES]
STREAM = {"streaming": True, "max_steps": 5}
MINUTES = {"max_minutes": 3.0}
SAVED = {"model_name_or_path": "a/model"}
RESET = {"kl_reset_decoder": True, "kl_zero_phase": 0.3}
BROKEN = [
    {"streaming": True},
    {**STREAM, "tokenizer": "word"},
    {"normalization": "nfkc", "tokenizer": "word"},
    {**STREAM, "dataloader_num_workers": 2},
    {**STREAM, "aggressive_encoder": True},
    {**SAVED, "encoder_name_or_path": "an/encoder"},
    {"decoder_name_or_path": "a/decoder", "tokenizer": "word"},
    {"encoder_tokenizer": "a/tokenizer"},
    {"extend_tokenizer": 5},
    {"freeze_encoder": True},
    {"freeze_decoder": True},
    {"lora": ["encoder", "decoder"]},
    {"bottleneck_phase": 0.1},
    {**MINUTES, "max_steps": 5},
    {**MINUTES, "num_train_epochs": 1.0},
    {**MINUTES, "aggressive_encoder": True},
    {**MINUTES, **RESET},
    {**SAVED, "extend_tokenizer": 5, "lora": ["decoder"]},
    {**SAVED, "weights_dtype": "bfloat16"},
    {"decoder_name_or_path": "a/decoder", "decoder_quantization": "4bit"},
    {**SAVED, "freeze_decoder": True, "decoder_quantization": "8bit"},
    {"decoder_name_or_path": "a/decoder", "freeze_encoder": True},
    {"encoder_name_or_path": "an/encoder", "lora": ["decoder"]},
    {**SAVED, "freeze_encoder": True, "lora": ["encoder"]},
    {**SAVED, "freeze_decoder": True, "lora": ["decoder"]},
    {**SAVED, "freeze_encoder": True, "encoder_learning_rate": 1e-3},
    {**SAVED, "freeze_decoder": True, "decoder_learning_rate": 1e-3},
    {"teacher": "an/encoder", **STREAM},
    {**RESET, "kl_target": 5.0},
    {"kl_reset_decoder": True},
    {**RESET, **SAVED},
    {**RESET, "decoder_name_or_path": "a/decoder"},
]


def refused(settings: dict) -> str:
    with pytest.raises(InputError) as error:
        TrainingConfig(**settings)
    return str(error.value)


def test_every_rule_refuses_some_config_and_none_is_hidden_by_another():
    assert [refused(settings) for settings in BROKEN] == [rule.sentence for rule in expected_order()]


def expected_order() -> list[Check]:
    """The rules as BROKEN has them: those of the two parts come in pairs."""
    trainable_parts = list(_trainable_parts())
    half = len(trainable_parts) // 2
    pairs = [rule for pair in zip(trainable_parts[:half], trainable_parts[half:], strict=True) for rule in pair]
    return [*CORPUS, *_parts(), *_length(), *TRAINABLE, *pairs, *TECHNIQUES]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.sentence.split(":")[0])
def test_every_rule_says_so_in_one_sentence(rule):
    assert rule.sentence.endswith(".") and not re.search(r"[.?!]\s|\n", rule.sentence)
    assert sum(other.sentence == rule.sentence for other in RULES) == 1


def test_no_rule_applies_to_the_default():
    config = TrainingConfig()
    assert not [rule.sentence for rule in RULES if rule.applies(config)]
