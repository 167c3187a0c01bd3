"""Labels: a conditional VAE, against exact values; from a labelled table to samples that have their label's words."""

import csv
import json
import math
import runpy
import sys
from pathlib import Path

import pandas
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from tiny_runs import (
    GRU,
    assert_same_checkpoint,
    config,
    kill_in_a_step,
    refusal,
    results,
    resume,
    write_lines,
)
from torch.distributions import Normal, kl_divergence

from textvae import InputError, TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.data.corpora import load_corpus, load_texts
from textvae.data.inference_batches import InferenceBatches
from textvae.data.special_tokens import IGNORED
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.data.training_batches import BatchPlan, LengthGroupedBatches
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.likelihood import importance_weighted_nll, posterior_terms, preceding_of_label
from textvae.objectives.terms import normal_kl
from textvae.training.config import TrainingConfig
from textvae.training.train import train

NAMES = ["bad", "good", "so-so"]
LENGTHS, LABELS = [9, 4, 6], torch.tensor([2, 0, 1])
TABLES = ("to_pooled", "to_prior", "to_embedding")
DECODERS, INJECTIONS = ["gru", "gpt2"], ["embedding", "prefix", ["embedding", "prefix"], "none"]
RECIPES = Path(__file__).parents[2] / "recipes"


def normal(*shape, seed=3):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def build(make_model):
    return lambda decoder="gru", **changes: make_model("bert", decoder, **{"label_names": NAMES, **changes})


def terms(model, batch, label_ids, noise):
    with torch.no_grad():
        output = model(**batch, label_ids=label_ids, noise=noise)
    return {name: output[name] for name in ("reconstruction", "kl", "latents", "mean", "logvar")}


def assert_same(found, expected):
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


# the objective


def test_the_kl_of_two_gaussians_is_torchs_and_so_is_that_from_the_standard_normal():
    mean, logvar, prior_mean, prior_logvar = normal(4, 50, 7)
    expected = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(prior_mean, (prior_logvar / 2).exp()))
    torch.testing.assert_close(normal_kl(mean, logvar, prior_mean, prior_logvar), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(normal_kl(mean, logvar, mean, logvar), torch.zeros(50, 7))
    zeros = torch.zeros(1, 7)
    expected = kl_divergence(Normal(mean, (logvar / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(normal_kl(mean, logvar, zeros, zeros), expected, rtol=1e-4, atol=1e-5)


def test_the_terms_are_those_of_the_labels_prior(build, make_texts):
    model, batch, noise = build(), make_texts(LENGTHS), normal(3, 5)
    output = model(**batch, label_ids=LABELS, noise=noise)
    posterior = model.encode(**batch, label_ids=LABELS)
    mean, logvar = model.prior_parameters(LABELS)
    assert mean.shape == logvar.shape == (3, 5) and len({*mean[:, 0].tolist()}) == 3
    expected = kl_divergence(posterior, Normal(mean, (logvar / 2).exp()))
    torch.testing.assert_close(output.kl, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(output.loss, (output.reconstruction + output.kl.sum(-1)).mean())


def test_the_bound_meets_the_integral_over_the_labels_prior(build, make_texts):
    """-log ∫ p(x|z, c) p(z|c) dz on a grid, and the mean of forty estimates of 300 samples."""
    model, batch, label_ids = build(latent_size=1), make_texts([5, 3]), torch.tensor([2, 0])
    with torch.no_grad():  # priors that are not N(0, 1), and a posterior wide enough for few samples
        model.label_vectors.to_prior.weight.copy_(torch.tensor([[1.0, -0.5], [0.0, 0.0], [-1.5, 0.4]]))
        model.posterior.to_logvar.weight.zero_()
        model.posterior.to_logvar.bias.fill_(0.9)
        model.posterior.to_mean.weight.mul_(0.3)
        labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, IGNORED)
        line = torch.linspace(-9, 9, 901)[:, None]
        log_joint = []
        for row, label in zip(labels, label_ids, strict=True):
            nll = model.reconstruction(line, row.expand(901, -1), label_ids=label.expand(901)).double()
            mean, logvar = model.prior_parameters(label[None])
            log_joint.append(Normal(mean, (logvar / 2).exp()).log_prob(line).double().sum(-1) - nll)
        exact = -(torch.stack(log_joint).logsumexp(1) + math.log(0.02))
        torch.manual_seed(0)
        draws = [importance_weighted_nll(model, {**batch, "label_ids": label_ids}, 300) for _ in range(40)]
        estimates = torch.stack(draws).double()
    error = estimates.std(0) / math.sqrt(40)
    assert error.max() < 0.02
    assert ((estimates.mean(0) - exact).abs() < 3 * error + 1e-4).all()


# the model


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("injection", INJECTIONS[1:])
def test_padding_and_batching_change_nothing(build, make_texts, decoder, injection):
    model, noise = build(decoder, latent_injection=injection), normal(3, 5)
    batch, wide = make_texts(LENGTHS), make_texts(LENGTHS, width=13)
    wide["input_ids"][:, :9] = batch["input_ids"]
    together = terms(model, batch, LABELS, noise)
    assert_same(terms(model, wide, LABELS, noise), together)
    for row, length in enumerate(LENGTHS):
        one = {name: tensor[[row], :length] for name, tensor in batch.items()}
        assert_same(
            terms(model, one, LABELS[[row]], noise[[row]]), {name: value[[row]] for name, value in together.items()}
        )


def test_the_label_matters_to_prior_encoder_and_decoder(build, make_texts):
    model, batch, others = build(), make_texts(LENGTHS), torch.tensor([0, 1, 2])
    ids, latents = batch["input_ids"], normal(3, 5)
    for call in (
        lambda label_ids: torch.cat(model.prior_parameters(label_ids), 1),
        lambda label_ids: model.encode(**batch, label_ids=label_ids).mean,
        lambda label_ids: model.decode(latents, ids, label_ids=label_ids)[:, 0],
        lambda label_ids: model.decode(latents, ids, label_ids=label_ids)[:, -1],
        lambda label_ids: model.reconstruction(latents, ids, label_ids=label_ids)[:, None],
    ):
        assert ((call(LABELS) - call(others)).abs().amax(1) > 1e-4).all()


def test_gradients_reach_the_rows_of_the_labels_in_all_three_tables(build, make_texts):
    model = build()
    model(**make_texts(LENGTHS), label_ids=torch.tensor([2, 0, 0])).loss.backward()
    for name in TABLES:
        gradient = getattr(model.label_vectors, name).weight.grad.abs()
        assert (gradient[[0, 2]] > 0).all() and (gradient[1] == 0).all(), name


def test_before_training_every_prior_is_the_standard_normal(build, make_texts, tmp_path):
    model = TextVAEModel(build(initial_logvar=-0.7).config).eval()
    assert not torch.cat(model.prior_parameters(LABELS)).any()
    assert all(getattr(model.label_vectors, name).weight.std() > 0.03 for name in ("to_pooled", "to_embedding"))
    with torch.no_grad():
        output = model(**make_texts(LENGTHS), label_ids=LABELS)
    expected = kl_divergence(Normal(output.mean, (output.logvar / 2).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(output.kl, expected, rtol=1e-4, atol=1e-5)


def test_the_priors_log_variance_is_bounded_as_the_posteriors(build):
    model = build(min_logvar=-2.0, max_logvar=1.0)
    with torch.no_grad():
        model.label_vectors.to_prior.weight.mul_(100)
    _, logvar = model.prior_parameters(LABELS)
    assert logvar.min() == -2 and logvar.max() == 1


def test_saved_and_opened_it_knows_its_labels(build, make_texts, tmp_path):
    model, batch, noise = build(), make_texts(LENGTHS), normal(3, 5)
    model.save_pretrained(tmp_path)
    opened = TextVAEModel.from_pretrained(tmp_path)
    assert opened.config.label_names == NAMES
    assert_same(terms(opened, batch, LABELS, noise), terms(model, batch, LABELS, noise))


def test_a_model_without_labels_is_what_it_was(make_model, make_texts):
    model = make_model()
    assert not [name for name, _ in model.named_parameters() if "label" in name]
    assert [tuple(part.shape) for part in model.prior_parameters()] == [(1, 5)] * 2
    assert not torch.cat(model.prior_parameters()).any()


def test_pretrained_parts_can_have_labels(build, tmp_path):
    made = build("gpt2")
    made.encoder.save_pretrained(tmp_path / "encoder"), made.decoder.save_pretrained(tmp_path / "decoder")
    model = TextVAEModel.from_encoder_decoder(
        *(str(tmp_path / part) for part in ("encoder", "decoder")), dtype=torch.bfloat16, label_names=NAMES
    )
    assert not torch.cat(model.prior_parameters(LABELS)).any() and model.label_vectors.to_pooled.weight.std() > 0.03
    assert model.generate(torch.zeros(3, 64), label_ids=LABELS, max_new_tokens=3).shape[0] == 3


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("injection", INJECTIONS)
def test_cached_generation_equals_teacher_forcing(build, decoder, injection):
    changes = {"tie_word_embeddings": False, "initializer_range": 0.5}
    model = build(decoder, latent_injection=injection, decoder_changes=changes, initializer_range=0.5)
    latents, controls = normal(3, 5), {"max_new_tokens": 6, "do_sample": False, "suppress_tokens": [0, 3]}
    output = model.generate(latents, label_ids=LABELS, output_logits=True, return_dict_in_generate=True, **controls)
    with torch.no_grad():
        forced = model.decode(latents, output.sequences[:, :-1], label_ids=LABELS)
    torch.testing.assert_close(torch.stack(output.logits, 1), forced, rtol=1e-4, atol=1e-4)
    plain = model.generate(latents, label_ids=LABELS, use_cache=False, num_beams=3, **controls)
    assert torch.equal(model.generate(latents, label_ids=LABELS, num_beams=3, **controls), plain)
    alone = model.generate(latents[[2]], label_ids=LABELS[[2]], num_beams=3, **controls)
    assert torch.equal(alone, plain[[2]])


def test_a_language_model_has_the_decoders_table_alone_and_an_exact_likelihood(build, make_texts):
    model, batch = build("gpt2", latent_injection="none"), make_texts(LENGTHS)
    assert [name for name in TABLES if getattr(model.label_vectors, name) is not None] == ["to_embedding"]
    with torch.no_grad():
        output = model(**batch, label_ids=LABELS)
        found = importance_weighted_nll(model, {**batch, "label_ids": LABELS}, 50)
        other = importance_weighted_nll(model, {**batch, "label_ids": LABELS.roll(1)}, 50)
    assert torch.equal(found, output.reconstruction) and not output.kl.any()
    assert not torch.isclose(found, other).any()


@pytest.mark.parametrize(
    "call",
    [
        lambda m, batch, **ids: m(**batch, **ids),
        lambda m, batch, **ids: m.encode(**batch, **ids),
        lambda m, batch, **ids: m.posterior_parameters(**batch, **ids),
        lambda m, batch, **ids: m.decode(torch.zeros(3, 5), batch["input_ids"], **ids),
        lambda m, batch, **ids: m.reconstruction(torch.zeros(3, 5), batch["input_ids"], **ids),
        lambda m, batch, **ids: m.generate(torch.zeros(3, 5), max_new_tokens=2, **ids),
        lambda m, batch, **ids: m.prior_parameters(**ids),
    ],
)
def test_labels_are_needed_where_there_are_any_and_refused_where_there_are_none(build, make_model, make_texts, call):
    batch = make_texts(LENGTHS)
    with pytest.raises(InputError, match="This model has 3 labels: give label_ids"):
        call(build(), batch)
    with pytest.raises(InputError, match="This model has no labels: leave label_ids out"):
        call(make_model(), batch, label_ids=LABELS)
    call(build(), batch, label_ids=LABELS)
    with pytest.raises(InputError, match="label_ids must be"):
        call(build(), batch, label_ids=LABELS[:, None])


def test_a_config_refuses_what_cannot_be():
    for names in (["one"], ["a", "b", "a"]):
        with pytest.raises(InputError, match="label_names is"):
            TextVAEConfig(label_names=names)
    for name in ("committed_rate", "mean_batch_norm"):
        with pytest.raises(InputError, match=f"{name} needs the prior"):
            TextVAEConfig(label_names=NAMES, **{name: 0.1})
        with pytest.raises(InputError, match=f"{name} needs the prior"):
            TrainingConfig(label_column="mood", **{name: 0.1})
    with pytest.raises(InputError, match="mmd_weight needs the prior"):
        TrainingConfig(label_column="mood", mmd_weight=1.0)
    with pytest.raises(InputError, match="The labels of a stream"):
        TrainingConfig(label_column="mood", streaming=True, max_steps=3)


# the corpus

ROWS = [("007", "1"), ("NA", "2"), ("x, y", "1"), ("nothing", ""), ("", "2"), ("a b", " 2 "), ("lost", None)]
WANTED = [("007", "1"), ("NA", "2"), ("x, y", "1"), ("a b", "2")]


def write_table(path: Path, rows) -> str:
    rows = [*rows]
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps({"body": text, "mood": label}) + "\n" for text, label in rows))
    elif path.suffix == ".parquet":
        pandas.DataFrame(rows, columns=["body", "mood"]).to_parquet(path)
    else:
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows([("body", "mood"), *rows])
    return str(path)


COLUMNS = {"text_column": "body", "label_column": "mood"}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet"])
def test_every_table_gives_labels_and_rows_with_a_gap_are_dropped_and_counted(tmp_path, caplog, name):
    file = write_table(tmp_path / name, ROWS)
    found = load_texts(file, **COLUMNS)
    assert [tuple(row.values()) for row in found] == WANTED and found.column_names == ["text", "label"]
    assert "3 rows with a gap were dropped" in caplog.text


def test_integers_and_the_hubs_classes_get_names(tmp_path):
    for name, values in (("ints.parquet", [3, 10, None]), ("ints.jsonl", [3, 10, None])):
        file = write_table(tmp_path / name, zip("abc", values, strict=True))
        assert load_texts(file, **COLUMNS)["label"][:] == ["3", "10"]
    features = Features({"body": Value("string"), "mood": ClassLabel(names=["sad", "glad"])})
    (tmp_path / "hub").mkdir()
    classes = Dataset.from_dict({"body": list("abcd"), "mood": [1, 0, -1, 1]}, features)
    classes.to_parquet(tmp_path / "hub" / "train.parquet")
    classes.to_parquet(tmp_path / "hub" / "validation.parquet")
    corpus = load_corpus(dataset_name=str(tmp_path / "hub"), **COLUMNS)
    assert corpus["train"]["label"][:] == ["glad", "sad", "glad"]
    tokenized = tokenize_corpus(
        classes.select([0, 1]).rename_columns({"body": "text", "mood": "label"}),
        TokenizerPair(train_word_tokenizer("abc")),
        8,
        label_names=["glad", "sad"],
    )
    assert tokenized["label_id"][:] == [0, 1]


def test_labels_of_pairs_have_targets_too(tmp_path):
    pandas.DataFrame({"a": ["x", "y"], "b": ["u", "v"], "c": [1, 0]}).to_csv(tmp_path / "a.csv", index=False)
    found = load_texts(str(tmp_path / "a.csv"), "a", "b", "c")
    assert found.to_list() == [{"text": "x", "target": "u", "label": "1"}, {"text": "y", "target": "v", "label": "0"}]


def test_a_label_that_chance_held_out_is_no_mistake(tmp_path, caplog):
    rows = [(f"text {i}", f"rare {i}" if i % 10 == 0 else "common" if i % 2 else "usual") for i in range(100)]
    corpus = load_corpus(write_table(tmp_path / "a.csv", rows), validation_split=0.5, **COLUMNS)
    assert set(corpus["validation"]["label"]) == {"common", "usual"}
    dropped = 100 - sum(map(len, corpus.values()))
    assert 0 < dropped < 10 and f"{dropped} held-out texts were dropped" in caplog.text


def test_labels_that_cannot_be_used_are_refused_in_one_sentence(tmp_path):
    few = [("a", "x"), ("b", "y"), ("c", "x")]
    train_file = write_table(tmp_path / "few.csv", few)
    cases = [
        ({"validation_file": write_table(tmp_path / "v.csv", [("a", "z"), ("b", "y")])}, "have the label 'z'"),
        ({"train_file": write_table(tmp_path / "1.csv", [("a", "x"), ("b", "x")])}, "Every training text has .* 'x'"),
        ({"train_file": write_table(tmp_path / "m.csv", [(f"t {i}", i) for i in range(1100)])}, "looks like text"),
        ({"train_file": write_table(tmp_path / "f.jsonl", [("a", 1.5), ("b", 2.5)])}, "neither a string nor an int"),
        ({"train_file": str(write_lines(tmp_path / "a.txt"))}, "has a text a line and no labels"),
        ({"label_column": "moood"}, "no column 'moood': give --label_column one of body, mood"),
        ({"label_column": "body"}, "text_column and label_column are both 'body'"),
        ({"target_column": "mood"}, "target_column and label_column are both 'mood'"),
        ({"train_file": None}, "The embedded corpus has no labels"),
        ({"streaming": True}, "The labels of a stream"),
    ]
    for changes, reason in cases:
        with pytest.raises(InputError, match=reason) as caught:
            load_corpus(**{"train_file": train_file, **COLUMNS, **changes})
        assert "\n" not in str(caught.value)


# the batches


def test_labels_stay_with_their_texts_and_move_no_noise_in_one_process_or_two():
    texts = [f"{word} {'so ' * (i % 5)}{word}" for i, word in enumerate("abcdefghijklmnopqr")]
    tokenizer = train_word_tokenizer(texts)
    labels = {text: NAMES[i % 3] for i, text in enumerate(texts)}
    pair = TokenizerPair(tokenizer)
    plain = tokenize_corpus(Dataset.from_dict({"text": texts, "label": [*labels.values()]}), pair, 20)
    with_ids = tokenize_corpus(plain, pair, 20, label_names=NAMES)
    assert "label_id" not in plain.column_names
    one, bare = (LengthGroupedBatches(data, pair, BatchPlan(6, latent_size=4)) for data in (with_ids, plain))
    halved = [BatchPlan(3, latent_size=4, num_processes=2, process_index=i) for i in (0, 1)]
    two = [LengthGroupedBatches(with_ids, pair, plan) for plan in halved]
    for index in range(2 * len(one)):
        item = one[index]
        read = tokenizer.batch_decode(item["input_ids"], skip_special_tokens=True)
        assert [NAMES[i] for i in item["label_ids"]] == [labels[text] for text in read]
        halves = [each[index]["label_ids"] for each in two]
        assert torch.equal(item["label_ids"][::2], halves[0]) and torch.equal(item["label_ids"][1::2], halves[1])
        unlabelled = bare[index]
        assert {*item} - {*unlabelled} == {"label_ids"}
        assert all(torch.equal(item[name], unlabelled[name]) for name in unlabelled if name != "num_texts")


# measuring


def test_the_text_before_of_the_same_label():
    assert preceding_of_label(torch.tensor([7, 3, 7, 5, 3, 7])).tolist() == [5, 4, 0, 3, 1, 2]
    assert preceding_of_label(torch.zeros(4)).tolist() == [3, 0, 1, 2]


TEXTS = ["a cat sat", "the dog", "a dog and the cat sat on a mat", "on", "the cat ran", "a bird sang on the mat"]


def tokenized(tokenizer, labels=(0, 2, 1, 1, 0, 2)):
    dataset = Dataset.from_dict({"text": TEXTS, "label": [NAMES[i] for i in labels]})
    return tokenize_corpus(dataset, TokenizerPair(tokenizer), 20, label_names=NAMES)


def test_the_terms_and_the_report_are_those_of_each_text_with_its_label(build):
    tokenizer = train_word_tokenizer(TEXTS)
    model, dataset = build(), tokenized(tokenizer)
    found = posterior_terms(model, InferenceBatches(dataset, TokenizerPair(tokenizer), model.device, 4), range(6))
    for row, (ids, label) in enumerate(zip(dataset["input_ids"], dataset["label_id"], strict=True)):
        with torch.no_grad():
            alone = model(torch.tensor([ids]), latents=found["latents"][[row]], label_ids=torch.tensor([label]))
        torch.testing.assert_close(found["kl"][row], alone.kl[0].sum(), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["reconstruction"][row], alone.reconstruction[0], rtol=1e-4, atol=1e-5)
    options = {"num_importance_samples": 9, "num_prior_samples": 5, "max_new_tokens": 6}
    report = evaluate(model, tokenizer, dataset, batch_size=2, **options)
    assert report["kl"] == pytest.approx(found["kl"].mean().item(), rel=1e-4)
    assert evaluate(model, tokenizer, dataset, batch_size=64, **options) == pytest.approx(report, rel=1e-4, abs=1e-4)
    other = evaluate(model, tokenizer, tokenized(tokenizer, (1, 0, 2, 0, 2, 1)), **options)
    assert abs(other["iw_nll"] - report["iw_nll"]) > 1e-3
    with pytest.raises(InputError, match="no label_id, or the other way round"):
        evaluate(model, tokenizer, dataset.remove_columns("label_id"), **options)


def test_a_z_that_names_its_label_costs_nothing_and_is_worth_nothing(build):
    """Its information, ln 2, is more than its KL, 0; and every z of a label is as good as another."""
    tokenizer = train_word_tokenizer(TEXTS)
    model = build(min_logvar=-6.0)
    with torch.no_grad():  # q(z|x, c) = p(z|c) = N(±2, e⁻⁶), the decoder barely looking
        for layer in (model.posterior.to_mean, model.posterior.to_logvar):
            layer.weight.zero_(), layer.bias.zero_()
        model.posterior.to_logvar.bias.fill_(-6)
        model.posterior.to_mean.weight[:, 0] = 1
        model.label_vectors.to_prior.weight.zero_()
        model.label_vectors.to_prior.weight[:, 5:] = -6
        model.label_vectors.to_prior.weight[:, :5] = torch.tensor([-2.0, 2, 0])[:, None]
        model.posterior.pooling = Nothing()
        model.label_vectors.to_pooled.weight[:, 0] = torch.tensor([-2.0, 2, 0])
    texts = tokenized(tokenizer, (0, 1, 0, 1, 0, 1))
    report = evaluate(model, tokenizer, texts, num_importance_samples=4, num_prior_samples=2, max_new_tokens=6)
    assert report["kl"] == pytest.approx(0, abs=1e-5)
    assert report["mutual_information"] == pytest.approx(math.log(2), abs=1e-3)
    assert all(abs(report[name]) < 0.5 for name in ("shuffle_gap", "mean_gap", "noise_gap"))


class Nothing(torch.nn.Module):
    """What the encoder says, left out."""

    def forward(self, states, mask):
        return torch.zeros_like(states[:, 0])


# a run

WORDS = {"sunny": ["warm", "bright", "light", "gold"], "gloomy": ["cold", "dark", "rain", "mud"]}
NUM_ROWS = 160


def toy_rows() -> list[tuple[str, str]]:
    generator, rows = torch.Generator().manual_seed(0), []
    for i in range(NUM_ROWS):
        name = ["sunny", "gloomy"][i % 2]
        picks = torch.randint(4, (3 + i % 3,), generator=generator)
        rows.append((" ".join(WORDS[name][pick] for pick in picks), name))
    return rows


RUN = {
    **COLUMNS,
    "decoder": {**GRU, "hidden_size": 24},
    "max_steps": 60,
    "learning_rate": 0.02,
    "save_steps": 25,
    "eval_steps": 30,
    "logging_steps": 1,
    "monitor_steps": 20,
    "word_dropout": 0.1,
    "model_card_samples": True,
    "card_examples": True,
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("corpus") / "moods.csv", [*toy_rows(), ("warm", ""), ("", "gloomy")])


@pytest.fixture(scope="module")
def finished(table, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("runs") / "moods"
    train(config(table, output_dir, **RUN))
    return output_dir


@pytest.fixture(scope="module")
def pipeline(finished):
    return TextVAEPipeline.from_pretrained(finished, device="cpu")


def share_of(name: str, texts: list[str]) -> float:
    words = [word for text in texts for word in text.split()]
    return sum(word in WORDS[name] for word in words) / len(words)


@pytest.mark.parametrize("name", WORDS)
def test_samples_of_a_label_are_of_its_words(pipeline, name):
    assert share_of(name, pipeline.sample(40, seed=0, label=name, do_sample=True)) > 0.9


def test_a_killed_run_resumed_equals_one_that_was_not(table, finished, tmp_path, monkeypatch):
    run = config(table, tmp_path, **RUN)
    kill_in_a_step(run, 55, monkeypatch)
    resume(run)
    assert_same_checkpoint(tmp_path / "checkpoint-60", finished / "checkpoint-60")
    assert results(tmp_path) == results(finished)


def test_the_report_shows_each_label(finished):
    card = (finished / "README.md").read_text(encoding="utf-8")
    for name in WORDS:
        block = card.split(f"**Prior samples of “{name}”**\n\n")[1].strip().split("\n\n")[0].split("\n")
        assert len(block) == 5 and all(line.startswith("- ") for line in block)
    for line in card.split("\n"):
        if line.startswith("**From “"):
            start, end = line.removeprefix("**From “").removesuffix("”**").split("” to “")
            assert len({share_of("sunny", [start]), share_of("sunny", [end])}) == 1


@pytest.mark.slow
def test_a_language_model_with_labels_and_fine_tuning(table, tmp_path):
    brief = {**RUN, "max_steps": 25, "kl_schedule": "constant"}
    made = train(config(table, tmp_path / "lm", **brief, latent_injection="none"))
    assert results(tmp_path / "lm")["kl"] == 0
    assert share_of("gloomy", made.sample(20, seed=0, label="gloomy", do_sample=True)) > 0.8
    options = {"model_name_or_path": str(tmp_path / "lm"), "max_steps": 1, "latent_injection": "none"}
    assert train(config(table, tmp_path / "more", **{**brief, **options})).model.config.label_names == sorted(WORDS)
    unknown = write_table(tmp_path / "u.csv", [(text, name.replace("sunny", "foggy")) for text, name in toy_rows()])
    said = refusal(config(unknown, tmp_path / "u", **{**brief, **options}))
    assert "'foggy' cannot be used: the model's labels are gloomy, sunny" in said
    without = {name: value for name, value in {**brief, **options}.items() if name != "label_column"}
    assert "has labels: name the column" in refusal(config(table, tmp_path / "u", **without))


def test_a_model_without_labels_is_not_given_any(table, tmp_path):
    brief = {"text_column": "body", "max_steps": 1}
    pipeline = train(config(table, tmp_path / "plain", **brief))
    said = refusal(
        config(table, tmp_path / "u", **brief, label_column="mood", model_name_or_path=str(tmp_path / "plain"))
    )
    assert "has no labels: leave label_column out" in said
    for call in (lambda: pipeline.encode("warm", label="sunny"), lambda: pipeline.sample(2, label="sunny")):
        with pytest.raises(InputError, match="This model has no labels: leave label out"):
            call()
    dataset = Dataset.from_dict({"text": ["warm", "cold"], "label": ["x", "y"]})  # of which it takes no notice
    assert pipeline.evaluate(dataset, num_importance_samples=2, num_prior_samples=2)["num_texts"] == 2


# the verbs


def test_every_verb_takes_a_label(pipeline):
    texts, labels = ["warm gold light", "rain mud cold dark", "gold warm gold"], ["sunny", "gloomy", "sunny"]
    codes = pipeline.encode(texts, label=labels)
    for row in range(3):
        torch.testing.assert_close(pipeline.encode(texts[row], label=labels[row]), codes[row], rtol=1e-4, atol=1e-5)
    assert not torch.isclose(pipeline.encode(texts, label="gloomy")[0], codes[0]).all()
    assert pipeline.reconstruct(texts, label=labels) == pipeline.decode(codes, label=labels)
    assert pipeline.decode(codes[1], label="gloomy") == pipeline.decode(codes, label=labels)[1]
    moved = pipeline.decode(pipeline.encode(texts, label="sunny"), label="gloomy", seed=0, do_sample=True)
    assert share_of("gloomy", moved) > 0.5 > share_of("sunny", moved)
    ways = pipeline.interpolate(texts[:2], texts[2:] * 2, 3, label=labels[:2])
    assert [way[0] for way in ways] == pipeline.reconstruct(texts[:2], label=labels[:2])
    assert ways[1][-1] == pipeline.reconstruct(texts[2], label="gloomy")
    found = pipeline.paraphrase(texts[:2], 3, seed=0, label=labels[:2], do_sample=True)
    assert share_of("sunny", found[0]) > 0.5 and share_of("gloomy", found[1]) > 0.5
    own, other = pipeline.score(texts, 20, label=labels), pipeline.score(texts, 20, label=["gloomy", "sunny", "gloomy"])
    assert all(low < high for low, high in zip(own, other, strict=True))
    assert pipeline.score(texts[1], 20, label="gloomy") == pytest.approx(own[1], rel=1e-4)
    assert pipeline.reconstruct([], label="sunny") == pipeline.interpolate([], [], label=[]) == []


def test_a_sample_is_of_the_labels_prior(pipeline):
    mean, _ = pipeline.model.prior_parameters(torch.tensor([1, 0]))
    label = ["sunny", "gloomy"]
    options = {"temperature": 0.0, "label": label, "prior": "standard", "num_beams": 1}
    assert pipeline.sample(2, **options) == pipeline.decode(mean.detach(), label=label)
    assert pipeline.sample(4, seed=1, label="sunny") == pipeline.sample(4, seed=1, label=["sunny"] * 4)


def test_it_is_measured_on_a_dataset_with_labels(pipeline):
    rows = toy_rows()[:12]
    dataset = Dataset.from_dict({"text": [text for text, _ in rows], "label": [name for _, name in rows]})
    swapped = Dataset.from_dict({"text": dataset["text"][:], "label": dataset["label"][1:] + dataset["label"][:1]})
    options = {"num_importance_samples": 5, "num_prior_samples": 2}
    report, worse = (pipeline.evaluate(each, **options) for each in (dataset, swapped))
    assert worse["iw_nll"] > report["iw_nll"] + 1
    with pytest.raises(InputError, match="and the dataset no column 'label'"):
        pipeline.evaluate(dataset["text"][:])
    with pytest.raises(InputError, match="A text without a label cannot be used"):
        pipeline.evaluate(Dataset.from_dict({"text": ["warm", "cold"], "label": ["sunny", None]}))


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (None, "This model has labels: give label, one of gloomy, sunny, or a list"),
        ("foggy", "The label 'foggy' cannot be used: the model's labels are gloomy, sunny"),
        (["sunny"], "There are 1 labels for 2"),
        (["sunny", "x"], "The label 'x'"),
    ],
)
def test_a_label_that_cannot_be_used_is_refused_by_every_verb(pipeline, label, reason):
    texts, codes = ["warm", "cold"], torch.zeros(2, 6)
    for call in (
        lambda: pipeline.encode(texts, label=label),
        lambda: pipeline.decode(codes, label=label),
        lambda: pipeline.reconstruct(texts, label=label),
        lambda: pipeline.sample(2, label=label),
        lambda: pipeline.interpolate(texts, texts, label=label),
        lambda: pipeline.paraphrase(texts, label=label),
        lambda: pipeline.score(texts, label=label),
    ):
        with pytest.raises(InputError, match=reason):
            call()


def test_evaluate_from_the_command_line(finished, table, tmp_path, monkeypatch, capsys):
    arguments = [str(finished), "--file", table, "--text_column", "body", "--num_importance_samples", "2"]
    arguments += ["--num_prior_samples", "3"]
    output = tmp_path / "scores.json"
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments, "--label_column", "mood", "--output", str(output)])
    runpy.run_path(str(RECIPES / "evaluate.py"), run_name="__main__")
    assert json.loads(output.read_text())["num_texts"] == NUM_ROWS
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *arguments])
    with pytest.raises(SystemExit):
        runpy.run_path(str(RECIPES / "evaluate.py"), run_name="__main__")
    assert "--label_column" in capsys.readouterr().err
