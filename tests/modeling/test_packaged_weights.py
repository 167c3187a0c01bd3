"""Real pretrained weights: a sentence encoder and a language model of 135M parameters, joined, trained and saved."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import SENTENCES, results, settings, write_lines
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from textvae import TextVAEModel, TextVAEPipeline
from textvae.data.tokenizer_pair import tokenizers_of_parts
from textvae.training.config import TrainingConfig
from textvae.training.train import train

WEIGHTS = os.environ.get("TEXTVAE_WEIGHTS")
pytestmark = pytest.mark.skipif(
    WEIGHTS is None, reason="TEXTVAE_WEIGHTS names no directory that recipes/packaged_weights.py wrote"
)
PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def parts():
    return str(Path(WEIGHTS) / "minilm"), str(Path(WEIGHTS) / "smollm2")


@pytest.fixture(scope="module")
def tuned(parts, tmp_path_factory):
    """A run that trains the bottleneck and adapters of the language model."""
    pytest.importorskip("peft")
    directory = tmp_path_factory.mktemp("tuned")
    values = settings(
        write_lines(directory / "texts.txt", SENTENCES[:60]),
        directory / "run",
        max_steps=12,
        latent_injection=["prefix"],
        latent_tokens=2,
        learning_rate=5e-3,
        num_reconstructed_texts=2,
        num_importance_texts=2,
        per_device_train_batch_size=8,
        encoder_name_or_path=parts[0],
        decoder_name_or_path=parts[1],
        freeze_encoder=True,
        lora=["decoder"],
    )
    for own in ("encoder", "decoder", "tokenizer"):
        del values[own]
    return directory / "run", train(TrainingConfig.from_dict(values))


def test_each_weight_is_the_saved_one_and_the_language_model_writes_as_before(parts):
    model = TextVAEModel.from_encoder_decoder(*parts, latent_size=16, latent_injection=["prefix"])
    encoder, decoder = AutoModel.from_pretrained(parts[0]), AutoModelForCausalLM.from_pretrained(parts[1])
    for part, saved in ((model.encoder, encoder), (model.decoder, decoder)):
        expected = saved.state_dict()
        assert all(torch.equal(weight, expected[key]) for key, weight in part.state_dict().items())
    tokenizer = AutoTokenizer.from_pretrained(parts[1])
    ids = tokenizer(PROMPT, return_tensors="pt")
    written = model.decoder.generate(**ids, max_new_tokens=4, do_sample=False)
    assert "Paris" in tokenizer.decode(written[0])


def test_a_few_steps_teach_it_the_corpus_and_only_they_are_saved(tuned, parts):
    directory, _ = tuned
    untrained = TextVAEModel.from_encoder_decoder(*parts, latent_size=6, latent_injection=["prefix"], latent_tokens=2)
    tokenizer, encoder_tokenizer = tokenizers_of_parts(*parts)
    before = TextVAEPipeline(untrained, tokenizer, encoder_tokenizer=encoder_tokenizer)
    after = TextVAEPipeline.from_pretrained(directory, device="cpu")
    texts = SENTENCES[:6]
    assert sum(after.score(texts, num_samples=2)) < 0.7 * sum(before.score(texts, num_samples=2))
    saved = load_file(directory / "model.safetensors")
    assert not any(name.startswith("encoder.") for name in saved)
    assert all("lora_" in name for name in saved if name.startswith("decoder."))
    assert results(directory)["num_texts"] == 6


def test_it_is_opened_as_it_was_trained_and_every_verb_works(tuned):
    directory, trained = tuned
    opened = TextVAEPipeline.from_pretrained(directory, device="cpu")
    texts = SENTENCES[:2]
    assert opened.score(texts, num_samples=2) == pytest.approx(trained.score(texts, num_samples=2), rel=1e-4)
    assert opened.encode(texts).shape == (2, 6)
    walk = opened.interpolate(*texts, num_steps=3, max_new_tokens=8)
    drawn = opened.sample(2, seed=0, max_new_tokens=8)
    assert [len(walk), len(drawn)] == [3, 2] and all(isinstance(text, str) for text in walk + drawn)
