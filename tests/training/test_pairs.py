"""What is decoded is not what is encoded: pairs of texts, two tokenizers, or both; trained, resumed, measured."""

import copy
import csv
import math
import sys

import numpy as np
import pytest
import torch
from datasets import Dataset
from tiny_runs import (
    BERT,
    GRU,
    LLAMA,
    SENTENCES,
    assert_same_checkpoint,
    assert_same_state,
    config,
    contents,
    results,
    save_parts,
    weights,
    write_lines,
)

from textvae import TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import ENCODER_TOKENIZER, TokenizerPair
from textvae.errors import InputError
from textvae.evaluation import metrics
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.likelihood import IMPORTANCE, POSTERIOR, importance_weighted_nll
from textvae.pipeline.codec import Codec
from textvae.pipeline.draws import Draws
from textvae.training.build_tokenizers import make_tokenizers
from textvae.training.progress import Meter
from textvae.training.setup import read_corpus
from textvae.training.train import train

pytestmark = pytest.mark.slow

TARGETS = [" ".join(reversed(text.split())) for text in SENTENCES]


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Names of a pretrained encoder and a pretrained decoder."""
    return save_parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Texts and their targets, and two rows with a gap."""
    path = tmp_path_factory.mktemp("corpus") / "pairs.csv"
    with path.open("w", newline="") as file:
        rows = [*zip(SENTENCES, TARGETS, strict=True), ("no target", ""), (" ", "no text")]
        csv.writer(file).writerows([("from", "to"), *rows])
    return path


COLUMNS = {"text_column": "from", "target_column": "to"}
EVERYTHING = {
    **COLUMNS,
    "max_length": 48,
    "word_dropout": 0.2,
    "noise_drop": 0.1,
    "noise_mask": 0.1,
    "noise_substitute": 0.1,
    "noise_shuffle": 2,
    "gradient_accumulation_steps": 2,
    "learning_rate": 0.01,
    "max_steps": 8,
    "num_reconstructed_texts": 4,
    "eval_steps": 4,
    "save_steps": 3,
    "logging_steps": 1,
}


@pytest.fixture(scope="module")
def finished(parts, table, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("runs") / "finished"
    train(config(table, output_dir, **parts, **EVERYTHING))
    return output_dir


@pytest.fixture(scope="module")
def pipeline(finished):
    return TextVAEPipeline.from_pretrained(finished, device="cpu")


# training


class Killed(BaseException):
    """Nothing in the package catches it."""


@pytest.mark.parametrize("streaming", [False, True])
def test_a_run_killed_and_resumed_equals_one_that_was_not(parts, table, finished, tmp_path, monkeypatch, streaming):
    def killed(self, step, *_):
        if step == 5:
            raise Killed

    changes = {**parts, **EVERYTHING, "streaming": streaming}
    whole = finished
    if streaming:
        whole = tmp_path / "whole"
        train(config(table, whole, **changes))
    run = config(table, tmp_path / "cut", **changes)
    with monkeypatch.context() as patch:
        patch.setattr(Meter, "show", killed)
        with pytest.raises(Killed):
            train(run)
    torch.manual_seed(99)
    run.resume_from_checkpoint = "latest"
    train(run)
    assert_same_checkpoint(tmp_path / "cut" / "checkpoint-8", whole / "checkpoint-8")
    assert results(tmp_path / "cut") == results(whole)
    assert contents(tmp_path / "cut").keys() == contents(whole).keys()
    assert tmp_path / "cut" / ENCODER_TOKENIZER in (tmp_path / "cut").iterdir()


def test_the_best_model_on_the_way_has_both_tokenizers(parts, table, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise Killed

    monkeypatch.setattr(sys.modules["textvae.training.train"], "write_report", killed)
    with pytest.raises(Killed):
        train(config(table, tmp_path, **parts, **COLUMNS, max_length=48, max_steps=1))
    assert TextVAEPipeline.from_pretrained(tmp_path / "best", device="cpu").encoder_tokenizer.sep_token == "[SEP]"


def test_the_same_tokenizer_twice_is_one(parts, tmp_path):
    encoder = parts["encoder_name_or_path"]
    changes = {**parts, "tokenizer": encoder}  # with fewer words than the decoder has embeddings
    pipeline = train(
        config(write_lines(tmp_path / "texts.txt"), tmp_path / "run", **changes, max_length=48, max_steps=1)
    )
    assert pipeline.encoder_tokenizer is None and pipeline.tokenizer.sep_token == "[SEP]"
    assert not (tmp_path / "run" / ENCODER_TOKENIZER).exists()


def test_fine_tuning_keeps_both_tokenizers(finished, tmp_path):
    lines = write_lines(tmp_path / "texts.txt")
    same = {"tokenizer": "sentencepiece", "decoder": LLAMA}  # the default, which stands for none, and what it has
    tuned = train(config(lines, tmp_path / "run", model_name_or_path=str(finished), **same, max_length=48, max_steps=1))
    measured = results(tmp_path / "run")
    assert measured["encoder_tokens_per_word"] > 2 and measured["encoder_unknown_share"] == 0
    assert measured["tokens_per_word"] > 1 and "byte_share" not in measured
    assert tuned.tokenizer.eos_token == "<|endoftext|>" and tuned.encoder_tokenizer.sep_token == "[SEP]"


def test_a_table_of_pairs_is_learnt_by_heart(tmp_path):
    texts, targets = SENTENCES[3::25], TARGETS[3::25]
    path = tmp_path / "eight.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("from", "to"), *zip(texts, targets, strict=True)])
    settings = {
        **COLUMNS,
        "per_device_train_batch_size": 8,
        "max_steps": 150,
        "eval_steps": 150,
        "learning_rate": 0.03,
        "beta": 0.01,
        "kl_schedule": "constant",
        "latent_injection": ["embedding"],
        "model_card_samples": True,
        "card_examples": True,
    }
    pipeline = train(config(path, tmp_path / "run", validation_file=str(path), **settings))
    assert pipeline.reconstruct(texts) == targets
    assert results(tmp_path / "run")["exact_match"] == 1
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    shown = [line for line in card.split("\n") if line.startswith("- ") and " → " in line]
    pairs = {f"- {text} → {target} ({target})" for text, target in zip(texts, targets, strict=True)}
    assert len(shown) == 5 and set(shown) <= pairs


@pytest.mark.parametrize("tokenizer", ["word", "sentencepiece"])
def test_a_tokenizer_is_trained_on_both_columns(tmp_path, tokenizer):
    path = tmp_path / "pairs.csv"
    path.write_text("from,to\n" + "ж ß,ю\n" * 40, encoding="utf-8")
    run = config(path, tmp_path / "run", **COLUMNS, tokenizer=tokenizer, vocab_size=270)
    made, encoder_tokenizer = make_tokenizers(run, read_corpus(run))
    assert set("жßю") <= set("".join(made.get_vocab())) and encoder_tokenizer is None


# measuring


def noise_of(index, purpose, k, size):
    stream = np.random.default_rng((0, purpose, index))
    return torch.from_numpy(stream.standard_normal((k, size), dtype=np.float32))


def test_evaluation_equals_sums_by_hand(pipeline):
    texts, targets, samples = SENTENCES[5::31], TARGETS[5::31], 4
    model, size = pipeline.model, pipeline.model.config.latent_size
    elbo, bounds, tokens, words, written = [], [], 0, 0, []
    end = pipeline.tokenizer.eos_token_id
    for index, (text, target) in enumerate(zip(texts, targets, strict=True)):
        ids = torch.tensor([pipeline.encoder_tokenizer(text)["input_ids"]])
        labels = torch.tensor([[*pipeline.tokenizer(target)["input_ids"], end]])
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
        with torch.no_grad():
            output = model(**batch, noise=noise_of(index, POSTERIOR, 1, size))
            draws = iter(noise_of(index, IMPORTANCE, samples, size)[:, None])
            nll = importance_weighted_nll(
                model, batch, samples, lambda k, draws=draws: torch.stack([next(draws) for _ in range(k)])
            )
            ids = model.generate(output.mean, max_new_tokens=48, do_sample=False)
        elbo.append(output.loss.item())
        bounds.append(nll.item())
        tokens, words = tokens + labels.numel(), words + len(target.split()) + 1
        written.append(pipeline.tokenizer.decode(ids[0], skip_special_tokens=True))
    dataset = Dataset.from_dict({"text": texts, "target": targets})
    report = pipeline.evaluate(dataset, num_importance_samples=samples, num_prior_samples=2, batch_size=2)
    assert report["negative_elbo"] == pytest.approx(np.mean(elbo), rel=1e-5)
    assert report["iw_nll"] == pytest.approx(np.mean(bounds), rel=1e-5)
    assert report["perplexity_token"] == pytest.approx(math.exp(sum(bounds) / tokens), rel=1e-5)
    assert report["perplexity_word"] == pytest.approx(math.exp(sum(bounds) / words), rel=1e-5)
    assert report["num_tokens"] == tokens and report["num_texts"] == len(texts)
    assert report["bleu"] == pytest.approx(metrics.corpus_bleu(written, targets))
    assert report["exact_match"] == metrics.exact_match(written, targets)
    other = pipeline.evaluate(texts, num_importance_samples=samples, num_prior_samples=2)
    assert other["iw_nll"] != report["iw_nll"] and other["kl"] == pytest.approx(report["kl"], rel=1e-5)


def test_two_tokenizers_and_no_targets_are_refused(pipeline):
    dataset = tokenize_corpus(Dataset.from_dict({"text": SENTENCES[:4]}), TokenizerPair(pipeline.tokenizer), 48)
    with pytest.raises(InputError, match="no column 'target_ids'"):
        evaluate(pipeline.model, pipeline.tokenizer, dataset, encoder_tokenizer=pipeline.encoder_tokenizer)


# the verbs


def test_every_verb_reads_with_one_tokenizer_and_writes_with_the_other(pipeline):
    texts = SENTENCES[:5]
    encoded = [torch.tensor([pipeline.encoder_tokenizer(text)["input_ids"]]) for text in texts]
    with torch.no_grad():
        means = torch.cat([pipeline.model.encode(ids, torch.ones_like(ids)).mean for ids in encoded])
    torch.testing.assert_close(pipeline.encode(texts), means, rtol=1e-4, atol=1e-5)
    assert pipeline.reconstruct(texts) == pipeline.decode(means)
    labels = torch.tensor([[*pipeline.tokenizer(texts[0])["input_ids"], pipeline.tokenizer.eos_token_id]])
    batch = {"input_ids": encoded[0], "attention_mask": torch.ones_like(encoded[0]), "labels": labels}
    noise = Draws(0, torch.device("cpu")).noise(9, 1, means.shape[1])
    expected = importance_weighted_nll(pipeline.model, batch, 9, lambda k: noise[:k]).item()
    assert pipeline.score(texts[0], num_samples=9) == pytest.approx(expected, abs=1e-3)
    assert pipeline.interpolate(texts[0], texts[1], 2) == pipeline.reconstruct(texts[:2])
    assert len(pipeline.sample(3, seed=0)) == 3 and pipeline.reconstruct([]) == []
    assert all(isinstance(text, str) for text in pipeline.paraphrase(texts[0], 2, seed=0))


def test_saved_and_opened_again_it_says_the_same(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    opened = TextVAEPipeline.from_pretrained(tmp_path, device="cpu")
    assert opened.max_length == 48
    assert_same_state(
        weights(tmp_path), {name: t for name, t in pipeline.model.state_dict().items() if name in weights(tmp_path)}
    )
    assert torch.equal(opened.encode(SENTENCES), pipeline.encode(SENTENCES))
    assert opened.score(SENTENCES[:3], 5) == pipeline.score(SENTENCES[:3], 5)
    opened.tokenizers = TokenizerPair(opened.tokenizer)
    opened.save_pretrained(tmp_path)
    assert not (tmp_path / ENCODER_TOKENIZER).exists()


def test_the_longer_side_is_cut_too(pipeline, caplog):
    short = TextVAEPipeline(pipeline.model, copy.deepcopy(pipeline.tokenizer), 10, pipeline.encoder_tokenizer)
    codec = Codec(short.model, short.tokenizers, batch_size=8, progress=False)
    read = codec.tokenize(["the movie the movie the movie talked", "pizza"], ids=None)
    assert [len(ids) for ids in read.input_ids] == [10, 7] and max(map(len, read.target_ids)) == 10
    assert caplog.text.count("1 of 2 texts were cut to 10 tokens") == 1
    pipeline.encoder_tokenizer.model_max_length = 48


def test_two_tokenizers_that_are_the_same_do_what_one_does():
    tokenizer = train_word_tokenizer(SENTENCES)
    sizes = {"vocab_size": len(tokenizer)}
    torch.manual_seed(0)
    model = TextVAEModel(TextVAEConfig(encoder={**BERT, **sizes}, decoder={**GRU, **sizes}, latent_size=6))
    one = TextVAEPipeline(model, tokenizer, 20)
    two = TextVAEPipeline(model, tokenizer, 20, copy.deepcopy(tokenizer))
    texts = SENTENCES[:9]
    assert torch.equal(two.encode(texts), one.encode(texts))
    assert two.score(texts, 5) == one.score(texts, 5)
    assert two.reconstruct(texts) == one.reconstruct(texts)
    assert two.paraphrase(texts, 2, seed=0) == one.paraphrase(texts, 2, seed=0)
    report = one.evaluate(texts, num_importance_samples=3, num_prior_samples=2)
    assert two.evaluate(texts, num_importance_samples=3, num_prior_samples=2) == report
    pairs = Dataset.from_dict({"text": texts, "target": texts})
    assert one.evaluate(pairs, num_importance_samples=3, num_prior_samples=2) == report
