"""What a model writes, judged: which texts are judged, and that the measures are those of these texts."""

import math

import pytest
import torch
from datasets import Dataset
from tiny_runs import SENTENCES, save_decoder, save_encoder

from textvae import TextVAEPipeline
from textvae.data.inference_batches import InferenceBatches
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.evaluation import metrics
from textvae.evaluation.judges import LanguageModel, SentenceEncoder, open_judges
from textvae.evaluation.likelihood import SAMPLES, noise_of_texts
from textvae.evaluation.mauve import mauve
from textvae.evaluation.quality import midpoints_written, prior_samples, report_of_quality

pytest.importorskip("sklearn")
CPU = torch.device("cpu")
LABELS = ["calm", "loud"]
HELD_OUT = SENTENCES[::3]


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    return save_decoder(tmp_path_factory.mktemp("decoder")), save_encoder(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def tokenizer():
    return train_word_tokenizer(SENTENCES)


def built(make_model, tokenizer, **changes):
    sizes = {side: {"vocab_size": len(tokenizer)} for side in ("encoder_changes", "decoder_changes")}
    return make_model("bert", "gru", initializer_range=0.5, **sizes, **changes)


def in_batches(tokenizer, label_names=(), batch_size=16):
    columns = {"text": HELD_OUT, "label": [LABELS[i % 2] for i in range(len(HELD_OUT))]}
    names = columns if label_names else {"text": HELD_OUT}
    tokenizers = TokenizerPair(tokenizer)
    corpus = tokenize_corpus(Dataset.from_dict({name: columns[name] for name in names}), tokenizers, 12, label_names)
    return InferenceBatches(corpus, tokenizers, CPU, batch_size)


@pytest.mark.parametrize("label_names", [[], LABELS])
def test_prior_samples_are_what_the_pipeline_writes_from_draws_of_the_prior(make_model, tokenizer, label_names):
    model = built(make_model, tokenizer, label_names=label_names)
    ids = torch.arange(9) % 2 if label_names else None
    with torch.no_grad():
        mean, logvar = model.prior_parameters(ids)
    latents = mean + (logvar / 2).exp() * noise_of_texts(3, SAMPLES, range(9))(1, 5)[0]
    labels = [LABELS[i % 2] for i in range(9)] if label_names else None
    written = TextVAEPipeline(model, tokenizer, max_length=12).decode(latents, label=labels, num_beams=4)
    for batch_size in (2, 16):
        texts = in_batches(tokenizer, label_names, batch_size)
        assert prior_samples(model, texts, 9, 12, seed=3) == written
    assert len(set(written)) > 1


@pytest.mark.parametrize("label_names", [[], LABELS])
def test_walks_are_written_midway_between_a_text_and_its_nearest(make_model, tokenizer, label_names):
    model, some = built(make_model, tokenizer, label_names=label_names), [30, 3, 17, 8]
    written = midpoints_written(model, in_batches(tokenizer, label_names), some, 12)
    pipeline = TextVAEPipeline(model, tokenizer, max_length=12)
    label = [LABELS[i % 2] for i in sorted(some)] if label_names else None
    codes = pipeline.encode([HELD_OUT[i] for i in sorted(some)], label=label)
    if label_names:  # 3 and 17, 8 and 30
        pairs = [(0, 2), (1, 3), (2, 0), (3, 1)]
    else:
        nearest = (torch.cdist(codes, codes) + torch.eye(4) * 1e9).argmin(1)
        pairs = [(0, int(nearest[0]))]
    for row, (one, other) in enumerate(pairs[:2]):
        middle = (codes[one] + codes[other]) / 2
        assert written[row] == pipeline.decode(middle, label=label and label[row])


def judged(model, tokenizer, judges, reconstructed=None, **changes):
    texts = in_batches(tokenizer)
    options = {"num_samples": 12, "max_new_tokens": 12, "seed": 0, **changes}
    reconstructed = dict(enumerate(HELD_OUT)) if reconstructed is None else reconstructed
    return report_of_quality(model, texts, HELD_OUT, reconstructed, judges, **options)


@pytest.mark.slow
def test_each_measure_is_that_of_its_texts(make_model, tokenizer, names):
    model, judges = built(make_model, tokenizer), open_judges(*names, CPU)
    report = judged(model, tokenizer, judges)
    samples = prior_samples(model, in_batches(tokenizer), 12, 12, seed=0)
    nats, tokens = LanguageModel(names[0], CPU).nats(samples)
    assert report["fluency_samples"] == pytest.approx(float(nats.sum() / tokens.sum()), rel=1e-5)
    assert report["fluency_reconstructions"] == report["fluency_held_out"] != report["fluency_samples"]
    assert 0 < report["fluency_held_out_standard_error"] < 1
    assert report["distinct_2_samples"] == metrics.distinct_bigrams(samples)
    assert (report["num_prior_samples"], report["num_mauve_texts"]) == (12, 12)
    all_of_them = judged(model, tokenizer, judges, num_samples=1000)
    assert all_of_them["num_mauve_texts"] == len(HELD_OUT) // 2
    nats, tokens = judges.language_model.nats(HELD_OUT)
    assert all_of_them["fluency_held_out"] == pytest.approx(float(nats.sum() / tokens.sum()), rel=1e-5)
    # A model that has learnt nothing writes what nobody would.
    assert all_of_them["mauve_held_out"] > 2 * max(all_of_them["mauve_samples"], all_of_them["mauve_walks"])
    halves = [HELD_OUT[::2], HELD_OUT[1::2]]
    assert mauve(*map(SentenceEncoder(names[1], CPU).embed, halves)) > 0.3


def test_without_judges_nothing_is_judged(make_model, tokenizer, names):
    report = judged(built(make_model, tokenizer), tokenizer, open_judges(None, None, CPU))
    assert [*report] == ["distinct_samples", "distinct_2_samples", "distinct_2_held_out", "num_prior_samples"]


def test_texts_without_a_token_are_not_fluent(make_model, tokenizer, names):
    silent = dict.fromkeys(range(len(HELD_OUT)), "")
    report = judged(built(make_model, tokenizer), tokenizer, open_judges(names[0], None, CPU), silent)
    assert report["fluency_reconstructions"] == math.inf and math.isfinite(report["fluency_samples"])
