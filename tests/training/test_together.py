"""Labels, frozen parts, adapters and extended tokenizers in one run; and what does not go together is refused."""

import json

import pytest
import torch
from tiny_runs import (
    SENTENCES,
    assert_same_state,
    config,
    refusal,
    results,
    save_decoder,
    save_parts,
    weights,
    write_lines,
)

from textvae import TextVAEPipeline
from textvae.errors import InputError
from textvae.modeling.adapters import LORA_MARK
from textvae.modeling.load import load_model
from textvae.training.train import train

pytestmark = pytest.mark.slow

pytest.importorskip("peft")

LABELLED = {
    "label_column": "mood",
    "max_length": 8,
    "max_steps": 4,
    "save_steps": 2,
    "learning_rate": 0.01,
    "num_reconstructed_texts": 4,
    "monitor_steps": 2,
}
NEW_WORDS = [f"{text} {end}" for text in SENTENCES[::4] for end in ("zebra", "bird")]
TABLES = {f"label_vectors.{name}.weight" for name in ("to_pooled", "to_prior", "to_embedding")}


def write_table(path, texts):
    return write_lines(path, ["text,mood", *(f"{text},{('calm', 'loud')[i % 2]}" for i, text in enumerate(texts))])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("corpus") / "texts.csv", SENTENCES)


@pytest.fixture(scope="module")
def new_words(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("corpus") / "new.csv", NEW_WORDS)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return save_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def saved(table, tmp_path_factory):
    """A model of words with labels, all of it trained."""
    output_dir = tmp_path_factory.mktemp("saved") / "run"
    train(config(table, output_dir, **LABELLED))
    return output_dir


def says(pipeline) -> list:
    texts, labels = SENTENCES[:3], ["calm", "loud", "calm"]
    return [
        pipeline.encode(texts, label=labels),
        pipeline.score(texts, num_samples=3, label=labels),
        pipeline.sample(3, seed=0, label=labels),
    ]


def opened(directory):
    return TextVAEPipeline.from_pretrained(directory, device="cpu")


# labels and what is trained


@pytest.mark.parametrize(
    "mode",
    [
        {"freeze_encoder": True, "lora": "decoder", "weights_dtype": "bfloat16"},
        {"freeze_encoder": True, "freeze_decoder": True, "latent_injection": ["embedding", "prefix"]},
        {"lora": ["encoder", "decoder"], "bottleneck_phase": 0.5, "gradient_checkpointing": True},
    ],
)
def test_labels_are_learnt_on_top_of_what_is_kept(parts, table, tmp_path, mode):
    made = train(config(table, tmp_path / "run", **LABELLED, **parts, **mode))
    kept = weights(tmp_path / "run")
    assert kept.keys() >= TABLES
    assert all(LORA_MARK in name for name in kept if name.startswith(("encoder.", "decoder.")))
    assert kept["label_vectors.to_prior.weight"].abs().sum() > 0, "it starts at 0"
    assert made.encode(SENTENCES[0], label="calm").ne(made.encode(SENTENCES[0], label="loud")).all()
    assert_same_state(says(opened(tmp_path / "run")), says(made))
    made.merge_and_save(tmp_path / "merged")
    merged = opened(tmp_path / "merged")
    assert merged.model.config.label_names == ["calm", "loud"] and merged.model.config.base is None
    close = {"rtol": 0.05, "atol": 0.05} if "weights_dtype" in mode else {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(says(merged)[0], says(made)[0], **close)


def test_of_a_language_model_on_a_frozen_decoder_the_labels_alone_are_learnt(parts, table, tmp_path):
    shared = {**LABELLED, **parts, "latent_injection": "none"}
    made = train(config(table, tmp_path / "run", **shared, freeze_decoder=True))
    assert weights(tmp_path / "run").keys() == {"label_vectors.to_embedding.weight"} and made.model.encoder is None
    assert made.score(SENTENCES[0], label="calm") != made.score(SENTENCES[0], label="loud")
    assert results(tmp_path / "run")["kl"] == 0
    assert_same_state(says(opened(tmp_path / "run")), says(made))
    for setting in ({"freeze_encoder": True}, {"lora": "encoder"}, {"encoder_learning_rate": 1e-3}):
        assert "A model without z has no encoder" in refusal(config(table, tmp_path / "no", **shared, **setting))


# an extended tokenizer


def test_a_model_with_labels_keeps_them_and_gets_new_words(saved, new_words, tmp_path):
    settings = {**LABELLED, "model_name_or_path": str(saved), "extend_tokenizer": 2}
    made = train(config(new_words, tmp_path, **settings))
    old = load_model(saved, torch.float32)
    rows = len(old.decoder.get_input_embeddings().weight)
    now = made.model.decoder.get_input_embeddings().weight
    assert len(now) == rows + 2 and made.tokenizer.convert_tokens_to_ids("zebra") >= rows
    assert made.model.config.label_names == old.config.label_names
    pooled = (model.label_vectors.to_pooled.weight for model in (made.model, old))
    assert not torch.equal(*pooled), "they learn on"
    assert_same_state(says(opened(tmp_path)), says(made))


@pytest.mark.parametrize("settings", [{"bottleneck_phase": 0.5}, {"decoder_learning_rate": 0.02}])
def test_new_rows_are_trained(saved, new_words, tmp_path, settings):
    """Both are the mean of all before."""
    settings |= {**LABELLED, "model_name_or_path": str(saved), "extend_tokenizer": 2}
    made = train(config(new_words, tmp_path, **settings))
    for part in (made.model.encoder, made.model.decoder):
        assert not torch.equal(*part.get_input_embeddings().weight[-2:])


def test_a_model_on_a_base_becomes_whole_when_it_is_extended(saved, table, new_words, tmp_path):
    """Its encoder was frozen, and is trained now, as the new rows must be."""
    shared = {**LABELLED, "max_steps": 2}
    train(config(table, tmp_path / "frozen", **shared, model_name_or_path=str(saved), freeze_encoder=True))
    again = {**shared, "model_name_or_path": str(tmp_path / "frozen"), "extend_tokenizer": 2}
    made = train(config(new_words, tmp_path / "whole", **again))
    assert json.loads((tmp_path / "whole" / "config.json").read_text())["base"] is None
    assert any(name.startswith("encoder.") for name in weights(tmp_path / "whole"))
    assert_same_state(says(opened(tmp_path / "whole")), says(made))


@pytest.mark.parametrize("kept", [{"freeze_encoder": True}, {"freeze_decoder": True}, {"lora": "decoder"}])
def test_new_rows_that_nothing_would_train_are_refused(saved, new_words, tmp_path, kept):
    with pytest.raises(InputError, match="extend_tokenizer adds embeddings, which have to be trained") as error:
        config(new_words, tmp_path, **LABELLED, model_name_or_path=str(saved), extend_tokenizer=2, **kept)
    assert "\n" not in str(error.value)


def test_a_decoder_that_must_learn_an_eos_is_not_kept(parts, table, tmp_path):
    endless = save_decoder(tmp_path / "endless", bos_token="<go>")
    settings = {**LABELLED, **parts, "decoder_name_or_path": endless}
    for kept in ({"freeze_decoder": True}, {"lora": "decoder"}):
        assert "has no EOS, and has to be trained" in refusal(config(table, tmp_path / "run", **settings, **kept))


# a saved model, and what its objective has no use for


def test_a_head_without_weight_stays_as_it_is(table, tmp_path):
    shared = {"max_length": 8, "max_steps": 2, "num_reconstructed_texts": 4}
    train(config(table, tmp_path / "words", **shared, bag_of_words_weight=0.5))
    train(config(table, tmp_path / "tuned", **shared, model_name_or_path=str(tmp_path / "words")))
    before, after = (weights(tmp_path / name) for name in ("words", "tuned"))
    assert before.keys() == after.keys()
    unchanged = {name for name in before if torch.equal(before[name], after[name])}
    assert unchanged == {name for name in before if name.startswith("to_bag_of_words.")}


@pytest.mark.parametrize("setting", [{"aggressive_encoder": True}, {"kl_target": 3}, {"bag_of_words_weight": 1.0}])
def test_a_saved_language_model_has_no_z_to_work_on(table, tmp_path, setting):
    shared = {"max_length": 8, "max_steps": 1, "num_reconstructed_texts": 4}
    train(config(table, tmp_path / "lm", **shared, latent_injection="none"))
    again = config(table, tmp_path / "again", **shared, model_name_or_path=str(tmp_path / "lm"), **setting)
    assert f"{next(iter(setting))} needs a z, and" in refusal(again)
