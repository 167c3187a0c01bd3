"""A decoder in 4 or 8 bits, as bitsandbytes has it on a CPU: trained around, saved, opened, merged."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import (
    LLAMA,
    SENTENCES,
    assert_same_checkpoint,
    assert_same_state,
    config,
    kill_in_a_step,
    results,
    resume,
    save_parts,
    weights,
    write_lines,
)
from transformers import AutoConfig, AutoModelForCausalLM

from textvae import TextVAEPipeline
from textvae.errors import InputError
from textvae.modeling.adapters import LORA_MARK
from textvae.modeling.pretrained import load_decoder
from textvae.training.train import train

pytest.importorskip("peft")
bitsandbytes = pytest.importorskip("bitsandbytes")
pytestmark = pytest.mark.usefixtures("short_reports")

LAYERS = {"4bit": bitsandbytes.nn.Linear4bit, "8bit": bitsandbytes.nn.Linear8bitLt}
SHORT = {
    "max_length": 8,
    "max_steps": 4,
    "save_steps": 2,
    "eval_steps": 2,
    "monitor_steps": 2,
    "learning_rate": 0.01,
    "num_reconstructed_texts": 4,
    "weight_averaging": "ema",
}
MODES = {
    "4bit": {"freeze_decoder": True},
    "8bit": {"lora": "decoder", "weights_dtype": "bfloat16", "gradient_checkpointing": True},
}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return save_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def finished(parts, tmp_path_factory):
    """kind → the config of its run, and what `train` gave back."""
    corpus, made = write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt"), {}

    def run(kind: str):
        if kind not in made:
            output_dir = tmp_path_factory.mktemp("runs") / kind
            settings = config(corpus, output_dir, **parts, **SHORT, **MODES[kind], decoder_quantization=kind)
            made[kind] = settings, train(settings)
        return made[kind]

    return run


def says(pipeline) -> list:
    return [
        pipeline.encode(SENTENCES[:3]),
        pipeline.score(SENTENCES[:3], num_samples=3),
        pipeline.reconstruct(SENTENCES[:2]),
    ]


@pytest.mark.parametrize("kind", LAYERS)
def test_the_run_holds_what_was_trained_and_is_opened_quantized_or_whole(finished, kind, tmp_path):
    run, pipeline = finished(kind)
    kept = weights(Path(run.output_dir))
    assert not [name for name in kept if name.startswith("decoder.") and LORA_MARK not in name]
    assert any(name.startswith("decoder.") for name in kept) == (kind == "8bit")
    opened = TextVAEPipeline.from_pretrained(run.output_dir, device="cpu")
    for model in (pipeline.model, opened.model):
        assert any(isinstance(layer, LAYERS[kind]) for layer in model.decoder.modules())
        assert not isinstance(model.decoder.lm_head, LAYERS[kind])
    assert_same_state(says(opened), says(pipeline))
    with pytest.raises(InputError, match="open the model with dtype float32"):
        opened.merge_and_save(tmp_path / "merged")
    whole = TextVAEPipeline.from_pretrained(run.output_dir, device="cpu", dtype="float32")
    whole.merge_and_save(tmp_path / "merged")
    merged = TextVAEPipeline.from_pretrained(tmp_path / "merged", device="cpu")
    scores = (torch.tensor(each.score(SENTENCES[:3], num_samples=3)) for each in (merged, pipeline))
    torch.testing.assert_close(*scores, rtol=0.01, atol=0.1)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_run_killed_and_resumed_equals_one_that_was_not(finished, kind, tmp_path, monkeypatch):
    whole, _ = finished(kind)
    run = replace(whole, output_dir=str(tmp_path))
    kill_in_a_step(run, 4, monkeypatch)
    resume(run)
    directory = Path(whole.output_dir)
    assert_same_checkpoint(tmp_path / "checkpoint-4", directory / "checkpoint-4")
    average = torch.load(tmp_path / "checkpoint-4" / "custom_checkpoint_2.pkl")["weights"]
    assert average.keys() == weights(tmp_path).keys()
    assert results(tmp_path) == results(directory)


@pytest.mark.parametrize("kind", LAYERS)
def test_an_evaluation_changes_no_gradient(kind, tmp_path):
    """Of a decoder as wide as those that a CPU repacks when it evaluates them."""
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_key_value_heads": 2}
    decoder = AutoConfig.for_model(**{**LLAMA, **sizes}, vocab_size=50)
    AutoModelForCausalLM.from_config(decoder).save_pretrained(tmp_path)
    model = load_decoder(str(tmp_path), torch.float32, kind).requires_grad_(False).eval()
    embeds = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def gradient():
        loss = model(inputs_embeds=embeds).logits.square().sum()
        return torch.autograd.grad(loss, embeds)[0]

    before = gradient()
    with torch.no_grad():
        model(inputs_embeds=embeds.detach())
    torch.testing.assert_close(gradient(), before)
