"""A saved model on another corpus: what is said of its tokenizer, what it gains, what it keeps."""

import json

import pytest
import torch
from tiny_runs import (
    GRU,
    assert_same_checkpoint,
    assert_same_state,
    config,
    kill_in_a_step,
    refusal,
    results,
    save_parts,
    settings,
    weights,
    write_lines,
)

from textvae import TextVAEPipeline
from textvae.data.coverage import coverage
from textvae.training.config import TrainingConfig
from textvae.training.train import train

pytestmark = pytest.mark.slow

OTHERS = [
    f"{who} {what} {where}{end}"
    for who in ("кошка", "a zebra")
    for what in ("спит", "ест", "sits")
    for where in ("там", "here", "тут")
    for end in (".", "!", "?", ", кошка.")
]
BRIEF = {"tokenizer": "sentencepiece", "max_length": 60, "max_steps": 4, "save_steps": 2, "num_reconstructed_texts": 3}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A run on English: Cyrillic is bytes to it."""
    directory = tmp_path_factory.mktemp("source")
    train(
        config(
            write_lines(directory / "texts.txt"), directory / "run", **BRIEF, vocab_size=330, bag_of_words_weight=0.1
        )
    )
    return str(directory / "run")


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("others") / "others.txt", OTHERS)


@pytest.fixture(scope="module")
def extended(source, others, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("extended")
    train(config(others, output_dir, **BRIEF, model_name_or_path=source, extend_tokenizer=30))
    return output_dir


def said_of_coverage(caplog) -> str:
    (line,) = [record.message for record in caplog.records if "tokens of a word" in record.message]
    return line


def test_bad_coverage_is_said_and_measured(source, others, tmp_path, caplog):
    pipeline = train(config(others, tmp_path / "run", **BRIEF, model_name_or_path=source))
    measured, line = results(tmp_path / "run"), said_of_coverage(caplog)
    expected = coverage(pipeline.tokenizer, OTHERS)  # all but the two texts held out
    assert {name: measured[name] for name in expected} == pytest.approx(expected, rel=0.1)
    assert measured["byte_share"] > 0.3 and measured["unknown_share"] == 0
    assert line.endswith(
        f"{100 * measured['byte_share']:.1f} % are single bytes: --extend_tokenizer 2000 would add pieces."
    )
    assert json.loads((tmp_path / "run" / "config.json").read_text())["decoder"]["vocab_size"] == len(
        pipeline.tokenizer
    )


def test_a_tokenizer_trained_on_the_corpus_is_not_measured(source):
    assert "tokens_per_word" not in results_of(source)


def results_of(directory: str) -> dict:
    with open(f"{directory}/metrics.json") as file:
        return json.load(file)


@pytest.mark.parametrize(("told", "length"), [({}, 60), ({"extend_tokenizer": 3}, 60), ({"max_length": 12}, 12)])
def test_a_tuned_model_reads_texts_as_long_as_before_unless_told(extended, others, tmp_path, told, length):
    values = {**settings(others, tmp_path / "run", **BRIEF), "model_name_or_path": extended, "max_steps": 1}
    del values["max_length"]
    assert train(TrainingConfig.from_dict(values | told)).max_length == length
    if "max_length" not in told:
        assert train(TrainingConfig.from_dict(values | {"resume_from_checkpoint": "latest"})).max_length == length


def test_an_extended_run_has_pieces_rows_and_better_coverage(source, extended):
    old, new = (TextVAEPipeline.from_pretrained(path, device="cpu") for path in (source, extended))
    gained = len(new.tokenizer) - len(old.tokenizer)
    assert 5 <= gained <= 30 and results(extended)["byte_share"] < 0.1
    sizes = {
        new.model.config.encoder.vocab_size,
        new.model.config.decoder.vocab_size,
        new.model.to_bag_of_words[-1].out_features,
    }
    assert sizes == {len(new.tokenizer)} and new.max_length == 60
    assert new.tokenizer.decode(new.tokenizer(OTHERS[3])["input_ids"], skip_special_tokens=True) == OTHERS[3]
    assert len(new.reconstruct(OTHERS[:3])) == 3


@pytest.mark.parametrize("told", [{"extend_tokenizer": 30}, {}])
def test_a_run_killed_and_resumed_equals_one_that_was_not(source, others, extended, tmp_path, monkeypatch, told):
    """Also where the flag is forgotten: the tokenizer is that of the run."""
    shared = {**BRIEF, "model_name_or_path": source}
    kill_in_a_step(config(others, tmp_path, **shared, extend_tokenizer=30), 4, monkeypatch)
    train(config(others, tmp_path, **shared, **told, resume_from_checkpoint="latest"))
    assert_same_checkpoint(tmp_path / "checkpoint-4", extended / "checkpoint-4")
    assert_same_state(weights(tmp_path), weights(extended))
    assert results(tmp_path) == results(extended)


def test_an_extended_model_can_be_extended_again(extended, tmp_path):
    lines = write_lines(tmp_path / "more.txt", ["日本 の 猫", "猫 は 日本 の 猫", "猫 の 日本"] * 12)
    pipeline = train(config(lines, tmp_path / "run", **BRIEF, model_name_or_path=str(extended), extend_tokenizer=20))
    assert results(tmp_path / "run")["byte_share"] == 0
    before = TextVAEPipeline.from_pretrained(extended).tokenizer
    assert len(pipeline.tokenizer) > len(before)
    assert pipeline.tokenizer(OTHERS)["input_ids"] == before(OTHERS)["input_ids"]


def test_words_are_added_from_a_stream_too(tmp_path, caplog):
    lines = write_lines(tmp_path / "texts.txt")
    train(config(lines, tmp_path / "words", max_steps=1))
    others = write_lines(tmp_path / "others.txt", OTHERS)
    run = {"model_name_or_path": str(tmp_path / "words"), "max_steps": 1}
    train(config(others, tmp_path / "unknown", **run))
    assert said_of_coverage(caplog).endswith("are unknown: --extend_tokenizer 2000 would add words.")
    run |= {"streaming": True, "tokenizer": "sentencepiece"}
    pipeline = train(config(others, tmp_path / "known", **run, extend_tokenizer=100))
    assert results(tmp_path / "known")["unknown_share"] == 0 < 0.5 < results(tmp_path / "unknown")["unknown_share"]
    assert pipeline.tokenizer.decode(pipeline.tokenizer("кошка sits here?")["input_ids"][:-1]) == "кошка sits here?"


def test_parts_are_measured_and_cannot_be_extended(others, tmp_path, caplog):
    train(config(others, tmp_path / "run", **BRIEF | {"max_steps": 1} | save_parts(tmp_path)))
    lines = [record.message for record in caplog.records if "tokens of a word" in record.message]
    assert lines[0].startswith("The tokenizer makes") and lines[0].endswith("0.0 % of the tokens are unknown.")
    assert lines[1].startswith("The encoder's tokenizer makes")
    assert lines[1].endswith("a model whose tokenizer was made for such texts would read it better.")
    saved = {"model_name_or_path": str(tmp_path / "run"), "extend_tokenizer": 9}
    told = refusal(config(others, tmp_path / "more", **BRIEF, **saved))
    assert "leave extend_tokenizer out" in told and not (tmp_path / "more").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"latent_size": 32}, "another latent_size: "),
        ({"committed_rate": 0.2, "pooling": "max"}, "another pooling, committed_rate: "),
        ({"decoder": {**GRU, "hidden_size": 21}}, "another hidden_size of the decoder: "),
        (
            {"decoder": {"model_type": "gpt2", "n_embd": 16}},
            "another model_type of the decoder, n_embd of the decoder: ",
        ),
        ({"encoder": {"num_hidden_layers": 5}}, "another num_hidden_layers of the encoder: "),
        ({"tokenizer": "word"}, "another tokenizer: "),
    ],
)
def test_settings_that_a_saved_model_would_ignore_are_refused(source, others, tmp_path, changes, named):
    assert named in refusal(config(others, tmp_path / "run", **{**BRIEF, "model_name_or_path": source, **changes}))
    assert not (tmp_path / "run").exists()


def test_a_saved_model_is_trained_on_with_another_dropout(source, others, tmp_path):
    decoder, encoder = {**GRU, "dropout": 0.3, "weight_dropout": 0.2}, {"hidden_dropout_prob": 0.4}
    changes = {"model_name_or_path": source, "decoder": decoder, "encoder": encoder, "max_steps": 1}
    train(config(others, tmp_path / "run", **BRIEF | changes))
    model = TextVAEPipeline.from_pretrained(tmp_path / "run", device="cpu").model
    assert model.decoder.model.dropout.probability == 0.3 and model.decoder.config.weight_dropout == 0.2
    assert {layer.p for layer in model.encoder.modules() if isinstance(layer, torch.nn.Dropout)} == {0.4, 0.0}


def test_a_vocab_size_is_said_to_be_left_aside(source, others, tmp_path, caplog):
    train(config(others, tmp_path / "run", **BRIEF | {"max_steps": 1}, model_name_or_path=source, vocab_size=500))
    assert any("vocab_size 500 is ignored" in record.message for record in caplog.records)
