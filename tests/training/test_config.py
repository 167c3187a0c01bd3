"""TrainingConfig: the same from Python, YAML and flags; every mistake is one sentence that names the way out."""

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Literal, get_args, get_origin, get_type_hints

import pytest
import yaml

from textvae.cli.arguments import Parser, add_training_flags, training_config
from textvae.config_fields import read_yaml
from textvae.errors import InputError
from textvae.objectives.controllers import RateController
from textvae.training.config import TrainingConfig

DEFAULT = TrainingConfig()
HINTS = get_type_hints(TrainingConfig)


def another(name: str):
    """A value that is not the default's, as Python has it."""
    special = {
        "encoder": {"model_type": "roberta", "hidden_size": 32, "layer_norm_eps": 0.5},
        "decoder": {"model_type": "gpt2", "n_embd": 32, "activation_function": "relu"},
        "latent_injection": ["embedding", "prefix"],
        "lora": ["encoder", "decoder"],
        "report_to": ["tensorboard", "wandb"],
        "kl_zero_phase": 0.3,
        "kl_start": 0.01,
        "beta": 0.7,
        "validation_split": 0.3,
        "warmup_ratio": 0.4,
    }
    if name in special:
        return special[name]
    hint, default = HINTS[name], getattr(DEFAULT, name)
    kinds = [kind for kind in get_args(hint) if kind is not type(None)] if type(None) in get_args(hint) else [hint]
    if get_origin(hint) is Literal:
        return next(choice for choice in get_args(hint) if choice != default)
    if get_origin(kinds[0]) is list:
        return ["some/where", "else/*.txt"]
    if kinds[0] is bool:
        return not default
    if kinds[0] is int:
        return (default or 0) + 3
    if kinds[0] is float:
        return default / 2 if default else 0.125
    return "some/where"


PARTS = {"encoder_name_or_path": "an/encoder", "decoder_name_or_path": "a/decoder"}
TRAINED = ("freeze_encoder", "freeze_decoder", "lora", "bottleneck_phase")


def needs(name: str) -> dict:
    others = {part: value for part, value in PARTS.items() if part != name}
    frozen = {**PARTS, "freeze_decoder": True}
    needed = {
        "streaming": {"max_steps": 3},
        "encoder_tokenizer": PARTS,
        **dict.fromkeys(PARTS, others),
        "kl_reset_decoder": {"kl_zero_phase": 0.3},
        **dict.fromkeys(TRAINED, PARTS),
        **dict.fromkeys(["weights_dtype", "decoder_quantization"], frozen),
        "extend_tokenizer": {"model_name_or_path": "a/model"},
    }
    return needed.get(name, {})


def as_arguments(name: str, value) -> list[str]:
    if isinstance(value, list):
        return [f"--{name}", *value]
    return [f"--{name}", yaml.safe_dump(value, default_flow_style=True) if isinstance(value, dict) else str(value)]


def parse(*arguments: str) -> TrainingConfig:
    parser = Parser(description="a recipe")
    add_training_flags(parser)
    return training_config(parser.parse_args(arguments))


@pytest.fixture
def write(tmp_path):
    def write(content) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(path)

    return write


# every setting, from everywhere


@pytest.mark.parametrize("name", [field.name for field in fields(TrainingConfig)])
def test_python_yaml_and_flags_agree_on_every_setting(name, write):
    value = another(name)
    settings = {name: value, **needs(name)}
    wanted = replace(DEFAULT, **settings)
    assert getattr(wanted, name) == value != getattr(DEFAULT, name)
    assert TrainingConfig.from_yaml(write(settings)) == wanted
    flags = [part for setting in settings.items() for part in as_arguments(*setting)]
    assert parse(*flags) == wanted
    given = {"learning_rate": 0.3, **{name: getattr(DEFAULT, name) for name in settings}}
    assert parse("--config", write(given), *flags) == (
        wanted if name == "learning_rate" else replace(wanted, learning_rate=0.3)
    ), "a flag overrides the file, and nothing but its own setting"


def test_one_file_or_several(write):
    for settings in ({"train_file": "a.txt"}, {"train_file": ["a.txt"]}):
        assert TrainingConfig.from_yaml(write(settings)).train_file == ["a.txt"]
        assert TrainingConfig(**settings).train_file == ["a.txt"]
    assert parse("--train_file", "a.txt", "b/*.csv", "--train_file", "c").train_file == ["a.txt", "b/*.csv", "c"]
    assert parse("--config", write({"train_file": "a.txt"}), "--train_file", "none").train_file is None


def test_saved_and_read_again_it_is_the_same(tmp_path):
    everything = {field.name: another(field.name) for field in fields(TrainingConfig)}
    # With which some of the others do not go.
    everything |= {
        "streaming": False,
        "model_name_or_path": None,
        "extend_tokenizer": 0,
        "normalization": "nfc",
        "weight_averaging": "none",
        **dict.fromkeys([*PARTS, "encoder_tokenizer", "kl_target", "label_column", "max_minutes"]),
        **{name: getattr(DEFAULT, name) for name in (*TRAINED, "weights_dtype", "decoder_quantization")},
    }
    parts = TrainingConfig(**PARTS, encoder_tokenizer="a/tokenizer", tokenizer="another/tokenizer")
    for config in (DEFAULT, parts, TrainingConfig(**everything)):
        config.save(tmp_path / "saved.yaml")
        assert TrainingConfig.from_yaml(tmp_path / "saved.yaml") == config


def test_an_empty_file_is_the_default(write):
    assert TrainingConfig.from_yaml(write("# nothing yet\n")) == DEFAULT


@pytest.mark.parametrize("written", ["1e-3", "0.001", "1.0e-3", "'1e-3'"])
def test_numbers_may_be_written_as_people_write_them(write, written):
    """PyYAML takes 1e-3 for a string."""
    assert TrainingConfig.from_yaml(write(f"learning_rate: {written}")).learning_rate == 0.001
    assert parse("--learning_rate", written.strip("'")).learning_rate == 0.001


def test_whole_numbers_too(write):
    assert TrainingConfig.from_yaml(write("save_steps: 1e3\nmax_steps: 20.0")).save_steps == 1000
    assert type(parse("--save_steps", "1e3").save_steps) is int


@pytest.mark.parametrize(
    "arguments, expected",
    [([], False), (["--streaming"], True), (["--streaming", "true"], True), (["--streaming", "no"], False)],
)
def test_a_switch_needs_no_value(arguments, expected):
    assert parse("--max_steps", "5", *arguments).streaming is expected


def test_none_takes_a_default_back(write):
    file = write({"num_importance_texts": 7, "max_steps": 4})
    config = parse("--config", file, "--num_importance_texts", "none", "--max_steps", "null")
    assert (config.num_importance_texts, config.max_steps) == (None, None)


def test_mixed_precision_no_is_not_false(write):
    assert TrainingConfig.from_yaml(write("mixed_precision: no")).mixed_precision == "no"


def test_one_name_will_do_for_a_list(write):
    assert TrainingConfig.from_yaml(write("latent_injection: prefix")).latent_injection == ["prefix"]
    assert parse("--latent_injection", "prefix").latent_injection == ["prefix"]
    assert parse("--latent_injection", "prefix", "embedding").latent_injection == ["prefix", "embedding"]


# encoder and decoder


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_a_part_of_the_default_type_keeps_what_it_is_not_told(side):
    default = getattr(DEFAULT, side)
    for given in ({"hidden_size": 64}, {"hidden_size": 64, "model_type": default["model_type"]}):
        assert getattr(TrainingConfig(**{side: given}), side) == {**default, "hidden_size": 64}
    assert getattr(parse(f"--{side}", "{hidden_size: 64}"), side) == {**default, "hidden_size": 64}


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_a_part_of_another_type_starts_bare(side):
    given = {"model_type": "llama", "num_hidden_layers": 1}
    assert getattr(TrainingConfig(**{side: given}), side) == given


def test_no_tracker_is_none():
    """As `transformers.TrainingArguments` has it."""
    assert parse("--report_to", "none").report_to == []


def test_two_configs_share_nothing():
    first, second = TrainingConfig(), TrainingConfig()
    first.encoder["hidden_size"] = 3
    first.report_to.append("wandb")
    assert second == DEFAULT == TrainingConfig()


# mistakes


@pytest.mark.parametrize(
    "wrong, right", [("learning_rat", "learning_rate"), ("batch_size", "per_device_train_batch_size"), (7, None)]
)
def test_an_unknown_name_is_answered_with_the_nearest(write, wrong, right):
    with pytest.raises(InputError) as from_yaml:
        TrainingConfig.from_yaml(write({wrong: 1}))
    with pytest.raises(InputError) as from_flag:
        parse(f"--{wrong}", "1")
    assert repr(wrong) in str(from_yaml.value) and f"'--{wrong}'" in str(from_flag.value)
    for error in (from_yaml, from_flag):
        assert "did you mean" in str(error.value) and (right is None or right in str(error.value))


def test_an_unknown_flag_is_named_without_its_value():
    with pytest.raises(InputError, match="no flag '--betta'; did you mean '--beta'"):
        parse("--betta=3")


def test_a_flag_is_not_to_be_shortened():
    with pytest.raises(InputError, match="'--learning'"):
        parse("--learning", "1e-3")


MISTAKES = {
    "latent_size": [0, -1, "many", 1.5, True, None],
    "latent_tokens": [0],
    "max_length": [0],
    "max_train_samples": [0],
    "max_validation_samples": [0],
    "vocab_size": [0],
    "per_device_train_batch_size": [0],
    "per_device_eval_batch_size": [0],
    "gradient_accumulation_steps": [0],
    "logging_steps": [0],
    "save_steps": [0],
    "save_total_limit": [0],
    "eval_steps": [0],
    "max_steps": [0, "inf"],
    "max_minutes": [0, -1, "nan", "inf", "ten", True],
    "early_stopping_patience": [0],
    "num_importance_samples": [0],
    "num_importance_texts": [0],
    "num_reconstructed_texts": [0],
    "num_train_epochs": [0, -1, "nan"],
    "learning_rate": [0, -1e-3, "nan", "inf", "fast", [1e-3], False],
    "max_grad_norm": [0, "nan"],
    "initializer_range": [0],
    "free_bits": [-0.5],
    "weight_decay": [-0.1],
    "warmup_ratio": [-0.1, 1.5],
    "adam_beta1": [2],
    "seed": [-1, 2**32],
    "dataloader_num_workers": [-1],
    "kl_schedule": ["sudden"],
    "free_bits_mode": ["word"],
    "mixed_precision": ["fp7"],
    "lr_scheduler_type": ["steep"],
    "streaming": ["perhaps"],
    "encoder": ["bert", ["bert"], "{model_type: "],
    "latent_injection": [{"prefix": 1}, [["prefix"]]],
    "output_dir": [None],
}


@pytest.mark.parametrize("name, value", [(name, value) for name, values in MISTAKES.items() for value in values])
def test_a_wrong_value_is_one_sentence_with_its_name(name, value):
    with pytest.raises(InputError) as error:
        TrainingConfig.from_dict({name: value})
    message = str(error.value)
    assert name in message and message.endswith(".") and "\n" not in message
    with pytest.raises(InputError):
        TrainingConfig(**{name: value})


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"beta": -1}, "beta"),
        ({"kl_warmup": 0}, "warmup"),
        ({"kl_zero_phase": 1}, "zero_phase"),
        ({"kl_schedule": "cyclical", "kl_num_cycles": 0}, "num_cycles"),
        ({"word_dropout": 1.5}, "word_dropout"),
        ({"noise_typos": 1.5}, "typos is 1.5"),
        ({"noise_mask": -0.5}, "mask"),
        ({"noise_shuffle": -1}, "shuffle"),
        ({"streaming": True}, "max_steps or max_minutes"),
        ({"max_minutes": 9, "max_steps": 5}, "max_minutes and max_steps both"),
        ({"max_minutes": 9, "num_train_epochs": 5}, "max_minutes and num_train_epochs both"),
        ({"max_minutes": 9, "aggressive_encoder": True}, "aggressive_encoder needs a number of steps"),
        ({"max_minutes": 9, "kl_reset_decoder": True, "kl_zero_phase": 0.5}, "give max_steps in place of max_minutes"),
        ({"streaming": True, "max_steps": 5, "tokenizer": "word"}, "tokenizer"),
        ({"encoder_name_or_path": "a", "freeze_decoder": True}, "decoder_name_or_path, or leave freeze_decoder"),
        ({"decoder_name_or_path": "a", "lora": "encoder"}, "encoder_name_or_path, or leave freeze_encoder"),
        ({"encoder_name_or_path": "a", "freeze_encoder": True, "decoder_quantization": "4bit"}, "cannot be trained"),
        ({**PARTS, "model_name_or_path": "a"}, "model_name_or_path has an encoder"),
        ({**PARTS, "tokenizer": "word"}, "leave tokenizer out"),
        ({**PARTS, "kl_reset_decoder": True, "kl_schedule": "cyclical"}, "decoder_name_or_path"),
        ({"encoder_tokenizer": "a"}, "encoder_name_or_path"),
        ({"extend_tokenizer": 5}, "name one in model_name_or_path"),
        ({"mean_batch_norm": 0.6, "weight_averaging": "ema"}, "not those of an average"),
        ({"streaming": True, "max_steps": 5, "dataloader_num_workers": 2}, "dataloader_num_workers to 0 or 1"),
        ({"teacher": "a", "streaming": True, "max_steps": 5}, "leave teacher or streaming out"),
        ({"extend_tokenizer": -1, "model_name_or_path": "a"}, "extend_tokenizer is -1"),
    ],
)
def test_schedule_noise_and_stream_are_checked_before_anything_starts(settings, named):
    with pytest.raises(InputError, match=named):
        TrainingConfig.from_dict(settings)


NEEDING_Z = {
    "kl_target": 5.0,
    "kl_reset_decoder": True,
    "aggressive_encoder": True,
    "bag_of_words_weight": 0.5,
    "mmd_weight": 1.0,
    "committed_rate": 0.1,
    "mean_batch_norm": 0.6,
    "teacher": "a",
}


@pytest.mark.parametrize("name", NEEDING_Z)
def test_what_needs_a_z_does_not_go_without_one(name):
    with pytest.raises(InputError) as error:
        TrainingConfig(latent_injection="none", **{name: NEEDING_Z[name]}, **needs(name))
    assert str(error.value) == f"{name} needs a z, and latent_injection is none: leave one of them out."
    TrainingConfig(latent_injection="none")
    TrainingConfig(**{name: NEEDING_Z[name]}, **needs(name))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"aggressive_encoder": True, "streaming": True, "max_steps": 9}, "aggressive_encoder draws texts at random"),
        (
            {"kl_reset_decoder": True, "model_name_or_path": "some/model", "kl_zero_phase": 0.3},
            "kl_reset_decoder would undo the decoder",
        ),
        (
            {"kl_reset_decoder": True, "kl_target": 5.0, "kl_zero_phase": 0.3},
            "kl_reset_decoder follows the KL schedule",
        ),
    ],
)
def test_techniques_that_exclude_each_other_are_told_apart(settings, told):
    with pytest.raises(InputError, match=f"{told}.*: leave one of them out"):
        TrainingConfig(**settings)
    for name in settings:
        if name not in ("max_steps", "kl_zero_phase"):
            TrainingConfig(**{**settings, name: getattr(DEFAULT, name)})


@pytest.mark.parametrize("kind", ["constant", "linear", "logistic", "cosine"])
def test_a_decoder_reset_that_could_never_happen_is_refused(kind):
    with pytest.raises(InputError, match="kl_reset_decoder needs a kl_zero_phase that ends, or kl_schedule cyclical"):
        TrainingConfig(kl_reset_decoder=True, kl_schedule=kind)
    TrainingConfig(kl_reset_decoder=True, kl_schedule=kind, kl_zero_phase=0.1)
    TrainingConfig(kl_reset_decoder=True, kl_schedule="cyclical")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"kl_target": 0}, "a kl_target above 0, not 0.0"),
        ({"kl_target": "nan"}, "a kl_target above 0, not nan"),
        ({"kl_target": 5, "beta": 0}, "a beta above 0, not 0.0"),
        ({"kl_target": 5, "kl_controller_gain": 0}, "kl_controller_gain is 0.0, it must be a finite number above 0"),
        ({"kl_target": 5, "kl_controller": "pid"}, "kl_controller must be one of pi, mdr, not 'pid'"),
    ],
)
def test_what_cannot_steer_is_refused(settings, told):
    with pytest.raises(InputError, match=told):
        TrainingConfig(**settings)


def test_the_controller_takes_its_own_settings():
    settings = {"kl_target": 7.0, "kl_controller": "mdr", "beta": 0.8, "kl_controller_gain": 0.02}
    assert TrainingConfig(**settings).new_rate_controller() == RateController("mdr", 7.0, 0.8, 0.02)
    assert TrainingConfig().new_rate_controller() is None


def test_the_choices_are_told():
    with pytest.raises(InputError, match="kl_schedule must be one of constant, linear, .*, not 'lineer'"):
        TrainingConfig.from_dict({"kl_schedule": "lineer"})


@pytest.mark.parametrize("content", ["- a\n- b\n", "just words", "beta: [1\nseed: 2", "\x00"])
def test_a_file_that_is_no_list_of_settings(write, content):
    path = write(content)
    with pytest.raises(InputError) as error:
        TrainingConfig.from_yaml(path)
    assert path in str(error.value) and "\n" not in str(error.value)


def test_a_missing_or_binary_file(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)))
    for path in (tmp_path / "missing.yaml", tmp_path / "binary.yaml", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            TrainingConfig.from_yaml(path)


# what they mean


def test_schedule_and_noise_take_their_own_settings():
    config = TrainingConfig(
        kl_schedule="cyclical",
        beta=0.5,
        kl_warmup=0.1,
        kl_zero_phase=0.2,
        kl_num_cycles=3,
        kl_ramp=0.4,
        kl_start=0.05,
        noise_drop=0.1,
        noise_mask=0.2,
        noise_substitute=0.3,
        noise_shuffle=4,
        noise_typos=0.5,
        word_dropout=0.6,
    )
    assert asdict(config.kl_weight) == {
        "kind": "cyclical",
        "beta": 0.5,
        "warmup": 0.1,
        "zero_phase": 0.2,
        "num_cycles": 3,
        "ramp": 0.4,
        "start": 0.05,
    }
    assert asdict(config.input_noise) == {
        "drop": 0.1,
        "mask": 0.2,
        "substitute": 0.3,
        "shuffle": 4,
        "typos": 0.5,
        "word_dropout": 0.6,
    }


def test_help_names_every_flag_and_its_default(capsys):
    with pytest.raises(SystemExit) as done:
        parse("--help")
    shown = capsys.readouterr().out
    assert done.value.code == 0 and shown.startswith("usage:") and "a recipe" in shown
    for field in fields(TrainingConfig):
        assert f"--{field.name} " in shown
        assert " ".join(field.metadata["explanation"].split()[:3]) in " ".join(shown.split())
    assert "--latent_size int" in shown and "constant|linear|logistic|cosine|cyclical" in shown
    assert "<class" not in shown and "typing." not in shown


def test_the_default_config_file_says_what_the_defaults_are():
    written = read_yaml(Path(__file__).parents[2] / "recipes" / "configs" / "default.yaml")
    assert TrainingConfig() == TrainingConfig.from_dict(written)
    assert all(written[name] == getattr(TrainingConfig(), name) for name in written)
