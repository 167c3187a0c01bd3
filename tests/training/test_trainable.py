"""What is trained and what is not: frozen parts, adapters, a phase of the bottleneck; and what such runs leave."""

import json
import runpy
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_runs import (
    BERT,
    GRU,
    LLAMA,
    SENTENCES,
    assert_same_checkpoint,
    assert_same_state,
    config,
    contents,
    kill_in_a_step,
    refusal,
    results,
    resume,
    save_decoder,
    save_parts,
    weights,
    write_lines,
)

from textvae import TextVAEPipeline
from textvae.data.tokenizer_pair import tokenizers_of_parts
from textvae.errors import InputError
from textvae.modeling.adapters import LORA_MARK
from textvae.modeling.base_weights import check_apart
from textvae.modeling.cross_entropy import linear_cross_entropy
from textvae.modeling.load import join_parts
from textvae.training.train import train
from textvae.training.trainable import checkpoint_activations, choose_trainable

pytestmark = pytest.mark.slow

pytest.importorskip("peft")

TEXTS = SENTENCES[:6]
FROZEN = {"freeze_encoder": True, "freeze_decoder": True}
MODES = {
    "frozen": FROZEN,
    "frozen in bf16": {**FROZEN, "weights_dtype": "bfloat16"},
    "encoder frozen": {"freeze_encoder": True},
    "adapters": {"lora": ["encoder", "decoder"], "lora_rank": 2, "lora_dropout": 0.1},
    "adapters in bf16": {"freeze_encoder": True, "lora": "decoder", "weights_dtype": "bfloat16"},
    "two phases": {"bottleneck_phase": 0.5},
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return save_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


SHORT = {
    "max_length": 8,
    "max_steps": 6,
    "save_steps": 2,
    "eval_steps": 3,
    "logging_steps": 1,
    "num_reconstructed_texts": 4,
    "monitor_steps": None,
    "learning_rate": 0.01,
}


@pytest.fixture(scope="module")
def finished(parts, corpus, tmp_path_factory):
    """mode → the directory of its run, and what `train` gave back."""
    made = {}

    def run(mode: str):
        if mode not in made:
            output_dir = tmp_path_factory.mktemp("runs") / mode.replace(" ", "-")
            made[mode] = output_dir, train(config(corpus, output_dir, **parts, **SHORT, **MODES[mode]))
        return made[mode]

    return run


def model_of(parts, corpus, tmp_path, **changes):
    """An untrained model, and the config it was made from."""
    run = config(corpus, tmp_path, **parts, **changes)
    pair = tokenizers_of_parts(run.encoder_name_or_path, run.decoder_name_or_path)
    dtypes = {f"{part}_dtype": run.dtype_of(part) for part in ("encoder", "decoder")}
    model = join_parts(run.encoder_name_or_path, run.decoder_name_or_path, pair, latent_size=6, **dtypes)
    choose_trainable(model, run)
    return model, run


def batch_of(pair) -> dict:
    ids = pair.encoder(TEXTS, return_tensors="pt", padding=True)
    labels = pair.decoder(TEXTS, return_tensors="pt", padding=True)
    labels = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, -100)
    return {"input_ids": ids["input_ids"], "attention_mask": ids["attention_mask"], "labels": labels}


@pytest.fixture
def batch(parts):
    return batch_of(tokenizers_of_parts(parts["encoder_name_or_path"], parts["decoder_name_or_path"]))


def of_parts(names) -> set[str]:
    return {name for name in names if name.startswith(("encoder.", "decoder."))}


def says(pipeline) -> list:
    return [pipeline.encode(TEXTS), pipeline.score(TEXTS, num_samples=3, seed=0), pipeline.reconstruct(TEXTS[:2])]


# what is trained


@pytest.mark.parametrize("mode", ["frozen", "encoder frozen", "adapters"])
def test_what_is_kept_is_bit_identical_and_the_bottleneck_is_not(parts, finished, mode):
    model = finished(mode)[1].model
    kept = {name: tensor for name, tensor in model.state_dict().items() if model.is_of_base(name)}
    for part in model.config.base:
        before = {
            f"{part}.{name}": t for name, t in load_file(f"{parts[f'{part}_name_or_path']}/model.safetensors").items()
        }
        now = {name.replace(".base_layer", ""): t for name, t in kept.items() if name.startswith(part)}
        assert now.keys() <= before.keys() and now
        assert all(torch.equal(tensor, before[name]) for name, tensor in now.items())
    assert model.posterior.to_logvar.weight.abs().sum() > 0, "it starts at 0"
    if mode == "adapters":
        assert all(t.abs().sum() > 0 for name, t in model.state_dict().items() if "lora_B" in name), "they start at 0"


@pytest.mark.parametrize("mode", MODES)
def test_only_what_is_trained_has_a_state_and_is_saved(finished, mode):
    output_dir, pipeline = finished(mode)
    trained = {name: p for name, p in pipeline.model.named_parameters() if p.requires_grad}
    state = torch.load(output_dir / "checkpoint-6" / "optimizer.bin")["state"]
    assert sorted(s["exp_avg"].numel() for s in state.values()) == sorted(p.numel() for p in trained.values())
    saved, kept = weights(output_dir), weights(output_dir / "checkpoint-6")
    base = pipeline.model.config.base or {}
    for part in base:
        assert all(LORA_MARK in name for name in [*saved, *kept] if name.startswith(f"{part}."))
    assert saved.keys() == trained.keys() and kept.keys() == trained.keys()
    assert json.loads((output_dir / "config.json").read_text())["base"] == (base or None)
    of_decoder = {name for name in trained if name.startswith("decoder.")}
    assert bool(of_decoder) == (not mode.startswith("frozen"))


def test_a_frozen_run_saves_little(finished):
    sizes = {mode: (finished(mode)[0] / "model.safetensors").stat().st_size for mode in ("frozen", "two phases")}
    bottleneck = {
        n: t for n, t in weights(finished("two phases")[0]).items() if not n.startswith(("encoder", "decoder"))
    }
    assert sizes["frozen"] < 4 * sum(t.numel() for t in bottleneck.values()) + 2000 < sizes["two phases"] / 5


def test_frozen_parts_rest_and_adapted_ones_do_not(parts, corpus, tmp_path):
    model = model_of(parts, corpus, tmp_path, freeze_encoder=True, lora="decoder", lora_dropout=0.5)[0].train()
    assert not any(module.training for module in model.encoder.modules())
    assert model.training and all(module.training for module in model.decoder.modules())
    assert not any(module.training for module in model.eval().modules())


def test_a_frozen_encoder_builds_no_graph_and_a_frozen_head_no_gradient(parts, corpus, tmp_path, batch, monkeypatch):
    model = model_of(parts, corpus, tmp_path, **FROZEN)[0].train()
    seen = []
    model.encoder.register_forward_hook(lambda *call: seen.append(call[-1].last_hidden_state))
    saved = []

    def watched(hidden, weight, *rest):
        with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.shape) or t, lambda t: t):
            return linear_cross_entropy(hidden, weight, *rest)

    monkeypatch.setattr("textvae.modeling.autoencoder.linear_cross_entropy", watched)
    model(**batch).loss.backward()
    assert not seen[0].requires_grad
    assert all(parameter.grad is None for part in (model.encoder, model.decoder) for parameter in part.parameters())
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)
    tokens, size = int((batch["labels"] != -100).sum()), model.config.decoder.vocab_size
    assert (tokens, LLAMA["hidden_size"]) in saved and (tokens, size) not in saved
    assert sum(shape == (size, LLAMA["hidden_size"]) for shape in saved) == 1, "the head itself, and no gradient of it"


@pytest.mark.parametrize("mode", MODES)
def test_recomputed_activations_change_no_gradient_and_hold_less(parts, corpus, tmp_path, batch, mode):
    found, held = [], []
    for recomputed in (False, True):
        torch.manual_seed(1)
        model = model_of(parts, corpus, tmp_path, **MODES[mode])[0].train()
        if recomputed:
            checkpoint_activations(model)
            model.train()
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.numel()) or t, lambda t: t):
            torch.manual_seed(2)
            loss = model(**batch, noise=torch.ones(len(TEXTS), 6)).loss
        loss.backward()
        held.append(sum(sizes))
        found.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad} | {"loss": loss})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5)
    assert held[1] < held[0]
    assert not any(module.training for module in model.eval().modules())


def test_a_layer_that_recomputes_is_free_of_dropout_where_it_is_frozen(parts, corpus, tmp_path, batch):
    model, _ = model_of(parts, corpus, tmp_path, freeze_decoder=True)
    layer, seen = model.decoder.model.layers[0], []
    layer.self_attn.register_forward_hook(lambda *_: seen.append(layer.training))
    checkpoint_activations(model)
    model.train()(**batch).loss.backward()
    assert layer.training and seen == [False, False], "forwards, and again backwards"


@pytest.fixture
def rates(monkeypatch):
    """(learning rate, number of weights with a gradient) of each group at each optimizer step."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(self, *args, **kwargs):
        seen.append([(g["lr"], sum(p.grad is not None for p in g["params"])) for g in self.param_groups])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    return seen


def test_each_part_learns_at_its_rate_also_when_resumed_and_joins_when_its_phase_begins(parts, corpus, tmp_path, rates):
    settings = {
        **parts,
        **SHORT,
        "lr_scheduler_type": "constant",
        "bottleneck_phase": 0.5,
        "freeze_encoder": True,
        "learning_rate": 0.01,
        "decoder_learning_rate": 1e-4,
    }
    train(config(corpus, tmp_path, **settings))
    assert [[rate for rate, _ in step] for step in rates] == [[0.01, 0.01, 1e-4, 1e-4]] * 6
    assert [step[2][1] > 0 for step in rates] == [False] * 3 + [True] * 3
    assert all(step[0][1] > 0 for step in rates)
    again = {**settings, "decoder_learning_rate": 1e-5, "resume_from_checkpoint": str(tmp_path / "checkpoint-4")}
    rates.clear()
    train(config(corpus, tmp_path, **again))
    assert [[rate for rate, _ in step] for step in rates] == [[0.01, 0.01, 1e-5, 1e-5]] * 2
    del again["decoder_learning_rate"]
    assert "another set of learning rates" in refusal(config(corpus, tmp_path, **again))


# saved, opened, merged


@pytest.mark.parametrize("mode", MODES)
def test_saved_opened_and_merged_it_says_the_same(finished, mode, tmp_path, monkeypatch):
    output_dir, pipeline = finished(mode)
    opened = TextVAEPipeline.from_pretrained(output_dir, device="cpu")
    assert_same_state(says(opened), says(pipeline))
    opened.save_pretrained(tmp_path / "again")
    assert_same_state(weights(tmp_path / "again"), weights(output_dir))
    opened.merge_and_save(tmp_path / "merged")
    assert_same_state(says(opened), says(pipeline), "merging changes")
    monkeypatch.setitem(sys.modules, "peft", None)
    merged = TextVAEPipeline.from_pretrained(tmp_path / "merged", device="cpu")
    assert merged.model.config.base is None and not any(LORA_MARK in name for name in merged.model.state_dict())
    assert {p.dtype for p in merged.model.parameters()} == {torch.float32}
    close = {"rtol": 0.05, "atol": 0.05} if "bf16" in mode else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(merged.encode(TEXTS), pipeline.encode(TEXTS), **close)
    scores = (torch.tensor(each.score(TEXTS, num_samples=3, seed=0)) for each in (merged, pipeline))
    torch.testing.assert_close(*scores, rtol=1e-2 if "bf16" in mode else 1e-4, atol=1e-4)


def test_the_recipe_merges(finished, tmp_path, monkeypatch):
    output_dir, pipeline = finished("adapters")
    monkeypatch.setattr(sys, "argv", ["merge.py", str(output_dir), str(tmp_path / "merged")])
    runpy.run_path(str(Path(__file__).parents[2] / "recipes" / "merge.py"), run_name="__main__")
    merged = TextVAEPipeline.from_pretrained(tmp_path / "merged", device="cpu")
    torch.testing.assert_close(merged.encode(TEXTS), pipeline.encode(TEXTS), rtol=1e-4, atol=1e-5)


def test_opened_in_another_dtype_all_of_it_is_in_that(finished):
    pipeline = TextVAEPipeline.from_pretrained(finished("adapters in bf16")[0], device="cpu", dtype="float32")
    assert {parameter.dtype for parameter in pipeline.model.parameters()} == {torch.float32}
    assert pipeline.model.config.base["decoder"]["dtype"] == "float32"


def test_a_run_on_a_saved_model_keeps_what_it_is_told(parts, corpus, finished, tmp_path):
    saved, pipeline = finished("encoder frozen")
    settings = {
        "max_length": 8,
        "max_steps": 2,
        "model_name_or_path": str(saved),
        "decoder": LLAMA,
        "tokenizer": "sentencepiece",
    }
    second = train(config(corpus, tmp_path / "second", **settings, freeze_encoder=True, lora="decoder"))
    places = {part: entry["name_or_path"] for part, entry in second.model.config.base.items()}
    assert places == {"encoder": parts["encoder_name_or_path"], "decoder": str(saved)}, "the decoder was trained there"
    assert_same_state(says(TextVAEPipeline.from_pretrained(tmp_path / "second", device="cpu")), says(second))
    third = config(corpus, tmp_path / "third", **{**settings, "model_name_or_path": str(tmp_path / "second")})
    assert "has adapters: merge them" in refusal(third)
    whole = train(config(corpus, tmp_path / "whole", **settings))
    assert whole.model.config.base is None and of_parts(weights(tmp_path / "whole")) >= of_parts(weights(saved))
    assert pipeline.model.config.base.keys() == {"encoder"}


def test_an_eos_that_was_added_is_there_again(parts, corpus, tmp_path):
    """Of an encoder, to which it is one token among others."""
    endless = save_decoder(tmp_path / "endless", bos_token="<go>")
    settings = {**parts, "encoder_name_or_path": endless, "max_length": 8, "max_steps": 2}
    made = train(config(corpus, tmp_path / "run", **settings, freeze_encoder=True))
    assert made.model.config.encoder.vocab_size == len(made.encoder_tokenizer)
    assert_same_state(says(TextVAEPipeline.from_pretrained(tmp_path / "run", device="cpu")), says(made))


def test_tied_weights_of_a_trained_part_are_saved_once(parts, corpus, tmp_path):
    train(config(corpus, tmp_path / "gru", max_length=8, max_steps=1))
    settings = {"model_name_or_path": str(tmp_path / "gru"), "max_steps": 2, "max_length": 8}
    made = train(config(corpus, tmp_path / "run", **settings, freeze_encoder=True))
    assert "decoder.lm_head.weight" not in weights(tmp_path / "run")
    assert_same_state(says(TextVAEPipeline.from_pretrained(tmp_path / "run", device="cpu")), says(made))


@pytest.fixture
def copied(finished, tmp_path):
    """A finished run with adapters, on a base that can be spoilt."""
    directory = shutil.copytree(finished("adapters")[0], tmp_path / "run")
    values = json.loads((directory / "config.json").read_text())
    for part, entry in values["base"].items():
        entry["name_or_path"] = str(shutil.copytree(entry["name_or_path"], tmp_path / part))
    (directory / "config.json").write_text(json.dumps(values))
    assert TextVAEPipeline.from_pretrained(directory, device="cpu").model.config.base == values["base"]
    return directory


def change_a_weight(directory):
    path = directory.parent / "decoder" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def lose_a_weight(directory):
    rewrite(directory, lambda saved: saved.pop("posterior.to_mean.bias"))


def add_a_weight(directory):
    rewrite(directory, lambda saved: saved.update(more=torch.ones(1)))


def adapters_of_another_rank(directory):
    rewrite(directory, lambda saved: saved.update({n: t[:1].clone() for n, t in saved.items() if "lora_A" in n}))


def rewrite(directory, change):
    saved = weights(directory)
    change(saved)
    save_file(saved, directory / "model.safetensors", {"format": "pt"})


SPOILT = [
    (change_a_weight, "decoder' is not the decoder that .* was trained on, its weights differ: put it back"),
    (lambda directory: shutil.rmtree(directory.parent / "encoder"), "There is no directory .*encoder'.*: put it back"),
    (
        lambda directory: (directory.parent / "encoder" / "model.safetensors").unlink(),
        "holds no weights.*: put it back",
    ),
    (lose_a_weight, "1 weights of .*, posterior.to_mean.bias for one, are not those of its config.json and its base"),
    (add_a_weight, "1 weights of .*, more for one, are not those"),
    (adapters_of_another_rank, "weights of .*lora_A.* are not those"),
]


@pytest.mark.parametrize("spoil, sentence", SPOILT, ids=range(len(SPOILT)))
def test_a_base_or_weights_that_do_not_fit_are_refused(copied, spoil, sentence):
    spoil(copied)
    with pytest.raises(InputError, match=sentence) as error:
        TextVAEPipeline.from_pretrained(copied, device="cpu")
    assert "\n" not in str(error.value)


def test_the_model_class_refuses_half_a_model(finished):
    with pytest.raises(InputError, match="open it with TextVAEPipeline.from_pretrained"):
        type(finished("frozen")[1].model).from_pretrained(finished("frozen")[0])


# interrupted and resumed


@pytest.mark.parametrize("mode, cut", [("frozen", 3), ("adapters", 3), ("two phases", 3), ("two phases", 5)])
def test_a_run_killed_and_resumed_equals_one_that_was_not(parts, corpus, tmp_path, finished, monkeypatch, mode, cut):
    whole, _ = finished(mode)
    run = config(corpus, tmp_path, **parts, **SHORT, **MODES[mode])
    kill_in_a_step(run, cut, monkeypatch)
    resume(run)
    assert_same_checkpoint(tmp_path / "checkpoint-6", whole / "checkpoint-6")
    assert_same_state(weights(tmp_path), weights(whole))
    assert results(tmp_path) == results(whole)
    if mode == "adapters":
        other = {**MODES[mode], "lora_rank": 3, "resume_from_checkpoint": "latest"}
        assert "its base differ" in refusal(config(corpus, tmp_path, **parts, **SHORT, **other))


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_an_average_holds_what_is_trained_and_resumes(parts, corpus, tmp_path, monkeypatch, averaging):
    monkeypatch.setattr("textvae.training.step.MOST_ENCODER_STEPS", 2)
    monkeypatch.setattr("textvae.training.step.ENCODER_STEPS", 1)
    settings = {
        **parts,
        **SHORT,
        "weight_averaging": averaging,
        "swa_start": 0.2,
        "freeze_encoder": True,
        "lora": "decoder",
        "aggressive_encoder": True,
        "gradient_accumulation_steps": 2,
        "gradient_checkpointing": True,
    }
    train(config(corpus, tmp_path / "whole", **settings))
    cut = config(corpus, tmp_path / "cut", **settings)
    kill_in_a_step(cut, 5, monkeypatch)
    resume(cut)
    assert_same_checkpoint(tmp_path / "cut" / "checkpoint-6", tmp_path / "whole" / "checkpoint-6")
    kept = torch.load(tmp_path / "cut" / "checkpoint-6" / "custom_checkpoint_2.pkl")["weights"]
    assert kept and all(LORA_MARK in name for name in of_parts(kept))
    assert kept.keys() == weights(tmp_path / "cut").keys()


def test_weights_held_in_bf16_turn_by_the_same_angles_as_when_they_are_opened_again(finished):
    """Rotary embeddings: rounded to bf16, they would be others from position to position."""
    trained = finished("frozen in bf16")[1].model
    opened = TextVAEPipeline.from_pretrained(finished("frozen in bf16")[0], device="cpu").model
    assert trained.decoder.dtype == torch.bfloat16
    angles = dict(trained.decoder.named_buffers())
    assert angles and all(torch.equal(t, angles[name]) for name, t in opened.decoder.named_buffers())
    assert all(t.dtype == torch.float32 for t in angles.values())


# refused


def test_no_run_and_no_model_is_written_over_what_it_needs(parts, corpus, tmp_path, finished):
    directory = finished("frozen")[0]
    before = contents(directory)
    again = config(
        corpus,
        directory,
        model_name_or_path=str(directory),
        overwrite_output_dir=True,
        **SHORT,
        **{name: parts[name] for name in ["tokenizer"]},
    )
    assert f"written over {directory}, which it starts from" in refusal(again)
    base = Path(parts["encoder_name_or_path"])
    weights_before = contents(base)
    tuned = config(
        corpus,
        base,
        model_name_or_path=str(directory),
        overwrite_output_dir=True,
        freeze_encoder=True,
        tokenizer="sentencepiece",
        decoder=LLAMA,
        **SHORT,
    )
    assert f"{base} holds a base model that this model needs" in refusal(tuned)
    with pytest.raises(InputError, match="holds a base model that this model needs"):
        finished("frozen")[1].save_pretrained(base)
    assert contents(directory) == before and contents(base) == weights_before


def test_a_base_of_the_hub_is_not_hidden_by_a_directory_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bases = {"decoder": {"name_or_path": "me/mine"}}
    check_apart(bases, tmp_path / "mine")
    with pytest.raises(InputError, match="me/mine would hide 'me/mine' of the Hub"):
        check_apart(bases, "me/mine")


@pytest.mark.parametrize(
    "changes, sentence",
    [
        ({"lora": "head"}, "lora names 'head'"),
        ({"lora": "decoder", "freeze_decoder": True}, "leave lora or freeze_decoder out"),
        ({"weights_dtype": "bfloat16"}, "weights_dtype is for frozen weights"),
        ({"decoder_quantization": "4bit"}, "A quantized decoder cannot be trained"),
        ({"freeze_encoder": True, "encoder_learning_rate": 1e-3}, "leaves nothing for encoder_learning_rate"),
        ({"bottleneck_phase": 1.5}, "bottleneck_phase is 1.5"),
        ({"decoder_learning_rate": 0}, "decoder_learning_rate is 0.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(parts, corpus, tmp_path, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        config(corpus, tmp_path, **parts, **changes)


def test_what_is_for_pretrained_weights_is_refused_without(corpus, tmp_path, finished):
    for setting in ({"freeze_encoder": True}, {"lora": "decoder"}, {"bottleneck_phase": 0.1}):
        with pytest.raises(InputError, match="is for a saved model or pretrained parts"):
            config(corpus, tmp_path, encoder=BERT, decoder=GRU, **setting)
    with pytest.raises(InputError, match="name one in decoder_name_or_path"):
        config(corpus, tmp_path, model_name_or_path="x", freeze_decoder=True, decoder_quantization="8bit")


def test_a_model_without_z_has_nothing_to_train_but_its_decoder(parts, corpus, tmp_path):
    alone = {**parts, **SHORT, "latent_injection": "none", "max_steps": 1}
    assert "A model without z" in refusal(config(corpus, tmp_path, **alone, freeze_decoder=True))
    made = train(config(corpus, tmp_path / "run", **alone, lora="decoder"))
    assert all(LORA_MARK in name for name in weights(tmp_path / "run")) and made.model.encoder is None


def test_missing_packages_are_named(parts, corpus, tmp_path, finished, monkeypatch):
    adapted = finished("adapters")[0]
    monkeypatch.setitem(sys.modules, "peft", None)
    assert "pip install 'textvae[lora]'" in refusal(config(corpus, tmp_path, **parts, **SHORT, lora="decoder"))
    with pytest.raises(InputError, match="Adapters need the package peft"):
        TextVAEPipeline.from_pretrained(adapted, device="cpu")
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    quantized = config(corpus, tmp_path, **parts, **SHORT, freeze_decoder=True, decoder_quantization="4bit")
    assert "pip install 'textvae[quantization]'" in refusal(quantized)


def test_a_part_without_linear_layers_takes_no_adapters(corpus, tmp_path):
    gru = {**GRU, "embedding_size": 20}  # as wide as its states, so that nothing is projected
    train(config(corpus, tmp_path / "gru", decoder=gru, max_steps=1))
    run = config(corpus, tmp_path / "run", model_name_or_path=str(tmp_path / "gru"), decoder=gru, lora="decoder")
    assert "The gru has no linear layers" in refusal(run)
