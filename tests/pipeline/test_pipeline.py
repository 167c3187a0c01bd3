"""The pipeline: one string or a list, in order, whatever the batch size; reproducible; saved and opened unchanged."""

import functools
import itertools
import json
import logging
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset, DatasetDict
from pandas import DataFrame
from safetensors.torch import load_file, save_file
from tiny_runs import assert_follow_umask, contents, full_disk, umask
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel, GenerationConfig, PreTrainedTokenizerFast

from textvae import TextVAEConfig, TextVAEModel
from textvae.data.padding import padded_batch
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import TokenizerPair
from textvae.data.unigram import train_tokenizer
from textvae.errors import InputError
from textvae.evaluation.config import EvaluationConfig
from textvae.evaluation.evaluate import evaluate
from textvae.evaluation.likelihood import importance_weighted_nll
from textvae.latents.paths import interpolate
from textvae.pipeline.draws import Draws
from textvae.pipeline.pipeline import TextVAEPipeline

DECODERS = {
    "gru": {"model_type": "gru", "hidden_size": 48, "embedding_size": 32},
    "llama": {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
    },
}
INJECTION = {"gru": ["embedding"], "llama": ["embedding", "prefix"]}
SPECIALS = ["<pad>", "<s>", "</s>", "<mask>"]
SUBJECTS = ["I", "we", "my sister", "the old dog", "nobody here"]
VERBS = ["like", "never saw", "would love to have", "talked about"]
OBJECTS = ["pizza", "the new movie", "a cup of coffee", "your garden", "music from the eighties"]
ENDS = [".", "!"]
CORPUS = [f"{s} {v} {o}{e}" for s, v, o, e in itertools.product(SUBJECTS, VERBS, OBJECTS, ENDS)]
TEXTS = CORPUS[3::17]


def build(decoder: str, tokenizer) -> TextVAEModel:
    config = TextVAEConfig(
        encoder={
            "model_type": "bert",
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 40,
            "hidden_dropout_prob": 0.1,
        },
        decoder={"vocab_size": len(tokenizer), **DECODERS[decoder]},
        latent_size=12,
        latent_injection=INJECTION[decoder],
        latent_tokens=2,
    )
    return TextVAEModel(config)


def overfit(model: TextVAEModel, tokenizer, steps: int) -> None:
    ids, mask = padded_batch(tokenizer(CORPUS)["input_ids"], tokenizer.pad_token_id)
    optimizer = torch.optim.Adam(model.parameters(), lr=7e-3)
    for step in range(steps):
        output = model(ids[step % 3 :: 3], mask[step % 3 :: 3])
        loss = output.reconstruction.mean() + 0.1 * output.kl.sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@functools.cache
def trained(decoder: str) -> TextVAEPipeline:
    torch.manual_seed(0)
    tokenizer = train_word_tokenizer(CORPUS)
    model = build(decoder, tokenizer)
    overfit(model, tokenizer, steps=150)
    return TextVAEPipeline(model, tokenizer, max_length=12)


@pytest.fixture(params=list(DECODERS))
def pipeline(request):
    return trained(request.param)


@pytest.fixture
def gru():
    return trained("gru")


@pytest.fixture
def saved(gru, tmp_path):
    gru.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def plain(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".!? ")


# text → z


def test_encode_gives_the_posterior_means_in_order(pipeline):
    ids, mask = padded_batch(pipeline.tokenizer(TEXTS)["input_ids"], pipeline.tokenizer.pad_token_id)
    with torch.no_grad():
        mean = pipeline.model.encode(ids, mask).mean
    torch.testing.assert_close(pipeline.encode(TEXTS), mean)


@pytest.mark.parametrize("sample", [False, True])
def test_batch_size_does_not_change_encode(pipeline, sample):
    expected = pipeline.encode(TEXTS, sample=sample, seed=1)
    for batch_size in (1, 5):
        torch.testing.assert_close(pipeline.encode(TEXTS, sample=sample, seed=1, batch_size=batch_size), expected)


def test_sampled_codes_follow_the_posterior(gru):
    texts = TEXTS[:1] * 4000
    posterior = gru.model.encode(*padded_batch(gru.tokenizer(TEXTS[:1])["input_ids"], 0))
    codes = gru.encode(texts, sample=True, seed=0, batch_size=500)
    torch.testing.assert_close(codes.mean(0), posterior.mean[0], atol=0.08, rtol=0)
    torch.testing.assert_close(codes.std(0), posterior.stddev[0], atol=0, rtol=0.08)


def test_codes_are_plain_tensors_that_a_user_can_train_on(gru):
    codes = gru.encode(TEXTS)
    assert codes.dtype == torch.float32 and not codes.requires_grad
    torch.nn.functional.linear(codes, torch.ones(2, 12, requires_grad=True)).sum().backward()


# z → text


def test_the_models_have_learnt_enough_for_these_tests_to_mean_something(pipeline):
    assert len(set(pipeline.reconstruct(TEXTS))) > len(TEXTS) // 2
    assert len(set(pipeline.sample(20, seed=0))) > 10


def test_batch_size_changes_no_text(pipeline):
    codes = pipeline.encode(TEXTS)
    expected = pipeline.decode(codes)
    assert expected == [pipeline.decode(code) for code in codes]
    assert pipeline.decode(codes, batch_size=5) == expected
    assert pipeline.reconstruct(TEXTS, batch_size=1) == pipeline.reconstruct(TEXTS) == expected
    assert pipeline.sample(9, seed=2, batch_size=2) == pipeline.sample(9, seed=2)
    paraphrases = [pipeline.paraphrase(TEXTS[:3], 3, seed=2, batch_size=n) for n in (7, 64)]
    assert paraphrases[0] == paraphrases[1]


def test_one_string_is_the_list_of_one_without_the_list(gru):
    text, other = TEXTS[0], TEXTS[5]
    assert torch.equal(gru.encode(text), gru.encode([text])[0])
    assert gru.decode(gru.encode(text)) == gru.decode(gru.encode([text]))[0]
    assert gru.reconstruct(text) == gru.reconstruct([text])[0]
    assert gru.interpolate(text, other) == gru.interpolate([text], [other])[0]
    assert gru.paraphrase(text, seed=0) == gru.paraphrase([text], seed=0)[0]
    assert gru.score(text) == gru.score([text])[0]


def test_no_texts_give_no_results(gru):
    assert gru.encode([]).shape == (0, 12)
    assert gru.decode(torch.zeros(0, 12)) == []
    assert gru.reconstruct([]) == gru.interpolate([], []) == gru.paraphrase([]) == gru.score([]) == []


def test_a_text_ends_at_max_length_or_where_the_caller_says(pipeline):
    endless = {"suppress_tokens": pipeline.tokenizer.convert_tokens_to_ids(["<pad>", "<s>", "</s>"])}
    codes = pipeline.encode(TEXTS[:3])
    assert [len(text.split()) for text in pipeline.decode(codes, **endless)] == [12, 12, 12]
    assert [len(text.split()) for text in pipeline.decode(codes, max_new_tokens=3, **endless)] == [3, 3, 3]
    assert [len(text.split()) for text in pipeline.decode(codes, max_length=5, **endless)] == [4, 4, 4]
    config = GenerationConfig(max_new_tokens=2, **endless)
    assert [len(text.split()) for text in pipeline.decode(codes, generation_config=config)] == [2, 2, 2]


def test_special_tokens_are_never_written():
    tokenizer = train_tokenizer(CORPUS, vocab_size=320)
    torch.manual_seed(1)
    pipeline = TextVAEPipeline(build("gru", tokenizer), tokenizer, max_length=30)  # untrained: any token may come
    with torch.no_grad():
        pipeline.model.posterior.to_mean.weight.mul_(50)
    written = pipeline.sample(30, temperature=3.0, seed=0, do_sample=True) + pipeline.reconstruct(
        ["Où ça ? 🎈", "日本"]
    )
    assert not any(special in text for text in written for special in SPECIALS)


def test_decoding_controls_reach_hugging_face(pipeline):
    codes = pipeline.encode(TEXTS[:3])
    beams = pipeline.decode(codes, num_beams=4, num_return_sequences=3)
    assert [len(set(texts)) for texts in beams] == [3, 3, 3]
    assert [texts[0] for texts in beams] == pipeline.decode(codes, num_beams=4)
    assert pipeline.decode(codes[1], num_beams=4, num_return_sequences=3) == beams[1]
    ways = pipeline.interpolate(TEXTS[0], TEXTS[1], num_steps=4, num_beams=2, num_return_sequences=2)
    assert [len(texts) for texts in ways] == [2, 2, 2, 2]
    endless = {"suppress_tokens": pipeline.tokenizer.convert_tokens_to_ids(["<pad>", "<s>", "</s>"])}
    words = pipeline.decode(codes[0], no_repeat_ngram_size=1, **endless).split()
    assert len(set(words)) == len(words) == 12
    assert pipeline.decode(codes, repetition_penalty=100.0, **endless) != pipeline.decode(codes, **endless)
    with pytest.raises(ValueError, match="nun_beams"):
        pipeline.decode(codes, nun_beams=2)


def test_a_seed_makes_every_verb_reproducible_and_leaves_the_random_state_alone(pipeline):
    words = {"do_sample": True, "temperature": 2.0}
    verbs = [
        lambda seed: pipeline.encode(TEXTS, sample=True, seed=seed).tolist(),
        lambda seed: pipeline.decode(torch.zeros(8, 12), seed=seed, **words),
        lambda seed: pipeline.reconstruct(TEXTS, seed=seed, **words),
        lambda seed: pipeline.sample(8, seed=seed),
        lambda seed: pipeline.interpolate(TEXTS[0], TEXTS[1], seed=seed, **words),
        lambda seed: pipeline.paraphrase(TEXTS[:2], seed=seed),
        lambda seed: pipeline.score(TEXTS[:3], num_samples=5, seed=seed),
    ]
    for verb in verbs:
        state = torch.get_rng_state()
        first = verb(3)
        assert torch.equal(torch.get_rng_state(), state)
        torch.randn(5)
        assert verb(3) == first
        assert verb(4) != first
        torch.manual_seed(11)
        unseeded = verb(None)
        assert verb(None) != unseeded
        torch.manual_seed(11)
        assert verb(None) == unseeded


# the verbs


def test_a_sample_at_temperature_zero_is_the_text_of_the_origin(gru):
    assert gru.sample(2, temperature=0.0, num_beams=1) == [gru.decode(torch.zeros(12))] * 2


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_interpolation_goes_from_one_reconstruction_to_the_other(pipeline, path):
    starts, ends = TEXTS[:3], TEXTS[4:7]
    ways = pipeline.interpolate(starts, ends, num_steps=5, path=path)
    assert [len(way) for way in ways] == [5, 5, 5]
    assert [way[0] for way in ways] == pipeline.reconstruct(starts)
    assert [way[-1] for way in ways] == pipeline.reconstruct(ends)
    points = interpolate(pipeline.encode(starts[1]), pipeline.encode(ends[1]), 5, path)
    assert ways[1] == pipeline.decode(points)


def test_dedupe_leaves_out_what_repeats_its_neighbour(pipeline):
    starts, ends = TEXTS[:3], [TEXTS[0], *TEXTS[5:7]]
    ways = pipeline.interpolate(starts, ends, num_steps=9)
    short = pipeline.interpolate(starts, ends, num_steps=9, dedupe=True)
    assert len(short[0]) == 1, "from a text to itself"
    for way, own in zip(ways, short, strict=True):
        assert own == [text for text, before in zip(way, [None, *way], strict=False) if text != before]
    assert pipeline.interpolate(starts[1], ends[1], num_steps=9, dedupe=True) == short[1]
    with pytest.raises(InputError, match="dedupe is 1"):
        pipeline.interpolate(starts, ends, dedupe=1)


def test_paraphrases_are_other_texts(pipeline):
    found = pipeline.paraphrase(TEXTS[:6], num_return_sequences=4, seed=0)
    assert len(found) == 6
    for text, paraphrases in zip(TEXTS, found, strict=False):
        assert 1 <= len(paraphrases) <= 4
        assert len({plain(text), *map(plain, paraphrases)}) == 1 + len(paraphrases)


def test_a_source_that_differs_only_in_what_the_tokenizer_drops_is_not_its_own_paraphrase(gru):
    text = next(text for text in CORPUS if gru.reconstruct(text) == text)
    spaced = "  " + text.replace(" ", "   ")
    assert plain(text) not in map(plain, gru.paraphrase(spaced, temperature=0.5, seed=0))


def test_one_text_of_each_z_is_a_paraphrase_whatever_the_generation_config_says(gru):
    several = GenerationConfig(num_beams=2, num_return_sequences=2, max_new_tokens=12)
    alone = GenerationConfig(num_beams=2, max_new_tokens=12)
    first, other = (gru.paraphrase(TEXTS[:2], seed=0, generation_config=each) for each in (several, alone))
    assert first == other and all(isinstance(text, str) for found in first for text in found)


def test_paraphrase_returns_fewer_when_no_more_are_found(gru):
    assert all(len(found) <= 1 for found in gru.paraphrase(TEXTS, temperature=0.0, seed=0))
    assert all(len(found) <= 4 for found in gru.paraphrase(TEXTS, 5, num_candidates=1, seed=0))  # four rounds of one


def test_paraphrase_draws_again_for_texts_that_have_too_few(gru):
    assert len(gru.paraphrase(TEXTS[0], 8, num_candidates=3, seed=0)) > 3


def test_a_score_depends_on_the_text_alone(pipeline):
    scores = pipeline.score(TEXTS, num_samples=20)
    assert pipeline.score(TEXTS[::-1], num_samples=20, batch_size=5)[::-1] == pytest.approx(scores, rel=1e-4)
    assert pipeline.score(TEXTS[2], num_samples=20) == pytest.approx(scores[2], rel=1e-4)


def test_scores_flag_odd_texts(pipeline):
    usual, odd = pipeline.score(TEXTS), pipeline.score([" ".join(text.split()[::-1]) for text in TEXTS])
    assert max(usual) < min(odd)


def test_evaluate_measures_texts_and_datasets(pipeline):
    options = {"num_importance_samples": 5, "num_reconstructed_texts": 4, "num_prior_samples": 2}
    report = pipeline.evaluate(TEXTS, **options)
    dataset = Dataset.from_dict({"text": TEXTS, "id": list(range(len(TEXTS)))})
    assert pipeline.evaluate(dataset, **options) == report
    tokenized = tokenize_corpus(dataset, TokenizerPair(pipeline.tokenizer), pipeline.max_length)
    assert evaluate(pipeline.model, pipeline.tokenizer, tokenized, max_new_tokens=12, **options) == report
    assert report["num_texts"] == len(TEXTS) and report["num_importance_samples"] == 5
    columns = {"text": TEXTS, "id": [*range(len(TEXTS))]}
    for same in (DataFrame(columns), columns, dataset.with_format("numpy"), dataset.with_format("torch")):
        assert pipeline.evaluate(same, **options) == report
    formatted = tokenized.with_format("torch")
    assert evaluate(pipeline.model, pipeline.tokenizer, formatted, max_new_tokens=12, **options) == report
    short = pipeline.evaluate(TEXTS, **options, max_new_tokens=1)
    assert short["bleu"] < report["bleu"] and short["iw_nll"] == report["iw_nll"]


def test_a_tokenizer_that_puts_a_token_in_front_works_too(tmp_path):
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "we", "like", "pizza"])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    words.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", eos_token="[SEP]"
    )
    pipeline = TextVAEPipeline(build("gru", tokenizer), tokenizer, max_length=6)
    ids = torch.tensor([[2, 4, 5, 6, 3]])
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 1:]}
    noise = Draws(0, torch.device("cpu")).noise(50, 1, pipeline.model.config.latent_size)
    expected = importance_weighted_nll(pipeline.model, batch, 50, lambda k: noise[:k]).item()
    assert pipeline.score("we like pizza", num_samples=50, seed=0) == pytest.approx(expected, abs=1e-4)
    assert not any("[" in text.replace("[UNK]", "") for text in pipeline.reconstruct(["we like pizza", "pizza"]))


# long texts, long work


def test_a_long_text_is_cut_with_its_end_marked_and_counted_once(gru, caplog):
    long = "we like " * 8
    with caplog.at_level(logging.WARNING):
        code = gru.encode([long, "we like pizza."])[0]
    assert [record.getMessage() for record in caplog.records] == ["1 of 2 texts were cut to 12 tokens"]
    torch.testing.assert_close(code, gru.encode(" ".join(long.split()[:11])))


def test_a_bar_is_shown_only_on_long_work(gru, capsys):
    gru.encode(TEXTS, batch_size=2)
    gru.encode(TEXTS, batch_size=1, progress=False)
    assert capsys.readouterr().err == ""
    gru.encode(TEXTS, batch_size=1)
    assert "encoding" in capsys.readouterr().err


# directories


def test_saved_and_opened_again_it_says_the_same(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path)
    opened = TextVAEPipeline.from_pretrained(tmp_path, device="cpu")
    assert opened.max_length == 12 and not opened.model.training
    assert torch.equal(opened.encode(TEXTS), pipeline.encode(TEXTS))
    assert opened.reconstruct(TEXTS) == pipeline.reconstruct(TEXTS)
    assert opened.sample(5, seed=0) == pipeline.sample(5, seed=0)
    assert opened.score(TEXTS[:2], 5) == pipeline.score(TEXTS[:2], 5)


def test_a_push_uploads_one_folder_with_the_runs_card_and_metrics(saved, tmp_path, monkeypatch):
    run = shutil.copytree(saved, tmp_path / "run")
    (run / "README.md").write_text(f'TextVAEPipeline.from_pretrained("{run}")')
    (run / "metrics.json").write_text("{}")
    uploads = []

    class Hub:
        def __init__(self, token):
            assert token == "secret"

        def create_repo(self, repo_id, private, exist_ok):
            assert private is True and exist_ok
            return SimpleNamespace(repo_id=f"me/{repo_id}")

        def upload_folder(self, repo_id, folder_path):
            uploads.append((repo_id, contents(Path(folder_path))))

    monkeypatch.setattr("textvae.pipeline.hub.HfApi", Hub)
    TextVAEPipeline.from_pretrained(run).push_to_hub("mine", private=True, token="secret")
    ((repo_id, files),) = uploads
    assert repo_id == "me/mine" and files.keys() == contents(run).keys()
    assert files["README.md"].decode() == 'TextVAEPipeline.from_pretrained("me/mine")'
    assert files["model.safetensors"] == (run / "model.safetensors").read_bytes()


def test_what_another_model_left_goes_when_a_new_one_is_saved(saved, gru, tmp_path):
    run = shutil.copytree(saved, tmp_path / "run")
    for name in ("adapter_config.json", "pytorch_model.bin", "model-00001-of-00002.safetensors", "merges.txt"):
        (run / name).write_text("{}")
    (run / "notes.txt").write_text("mine")
    gru.save_pretrained(run)
    assert {path.name for path in run.iterdir()} == {*(path.name for path in saved.iterdir()), "notes.txt"}


def test_the_directory_holds_what_hugging_face_writes_and_no_pickle(saved):
    names = {path.name for path in saved.iterdir()}
    files = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert names == files
    assert isinstance(AutoModel.from_pretrained(saved), TextVAEModel)
    assert AutoTokenizer.from_pretrained(saved)("I like pizza.")["input_ids"][-1] == 3


@pytest.mark.parametrize("value", [0o022, 0o077])
def test_saved_files_follow_the_umask(gru, tmp_path, value):
    with umask(value):
        TextVAEPipeline(gru.model, gru.tokenizer, 12, gru.tokenizer).save_pretrained(tmp_path / "model")
        gru.model.save_pretrained(tmp_path / "model alone", max_shard_size="20KB")
    assert_follow_umask(tmp_path, value)


@pytest.mark.parametrize("size", [100, 10_000, 60_000])
def test_on_a_full_disk_a_saved_model_is_what_it_was(gru, saved, size):
    before = contents(saved)
    assert len(before["tokenizer.json"]) < 10_000 < len(before["model.safetensors"])
    for save in (gru.save_pretrained, gru.merge_and_save, gru.model.save_pretrained):
        with full_disk(size), pytest.raises(OSError, match=f"File too large: '{saved}") as error:
            save(saved)
        assert error.value.filename
    assert contents(saved) == before


def test_a_model_is_not_saved_into_a_file(gru, tmp_path):
    (tmp_path / "file").write_text("mine")
    for save in (gru.save_pretrained, gru.merge_and_save, gru.model.save_pretrained):
        with pytest.raises(InputError, match="file is a file"):
            save(tmp_path / "file")
    assert contents(tmp_path) == {"file": b"mine"}


def test_max_length_is_the_tokenizers_where_it_has_one_and_not_given(gru, saved):
    assert TextVAEPipeline(gru.model, gru.tokenizer).max_length == 12
    settings = json.loads((saved / "tokenizer_config.json").read_text())
    del settings["model_max_length"]
    (saved / "tokenizer_config.json").write_text(json.dumps(settings))
    assert TextVAEPipeline.from_pretrained(saved).max_length == 64


def test_half_precision(saved):
    pipeline = TextVAEPipeline.from_pretrained(saved, dtype=torch.bfloat16)
    assert pipeline.model.dtype == torch.bfloat16
    assert pipeline.encode(TEXTS).dtype == torch.float32
    assert all(isinstance(text, str) for text in pipeline.reconstruct(TEXTS))
    pipeline.save_pretrained(saved)
    assert TextVAEPipeline.from_pretrained(saved).model.dtype == torch.bfloat16


def spoil_weights(saved, change):
    weights = load_file(saved / "model.safetensors")
    change(weights)
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})


def spoil_config(saved, **changes):
    config = json.loads((saved / "config.json").read_text()) | changes
    (saved / "config.json").write_text(json.dumps(config))


def cut_in_half(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put_bert(saved):
    shutil.rmtree(saved)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertModel(BertConfig(vocab_size=30, **sizes)).save_pretrained(saved)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (shutil.rmtree, "There is no directory"),
        (put_bert, "is a bert model and no text VAE"),
        (lambda saved: cut_in_half(saved / "model.safetensors"), "are corrupt"),
        (lambda saved: (saved / "model.safetensors").write_bytes(b""), "are corrupt"),
        (lambda saved: (saved / "model.safetensors").unlink(), "no file named model.safetensors"),
        (
            lambda saved: spoil_weights(saved, lambda w: w.pop("posterior.to_mean.weight")),
            "1 weights .* posterior.to_mean.weight",
        ),
        (lambda saved: spoil_weights(saved, lambda w: w.update(extra=torch.ones(1))), "1 weights .* extra"),
        (lambda saved: spoil_config(saved, latent_size=5), "5 weights"),
        (lambda saved: spoil_config(saved, latent_size="five"), "latent_size"),
        (lambda saved: spoil_config(saved, pooling="median"), "pooling is 'median'"),
        (lambda saved: cut_in_half(saved / "config.json"), "not a valid JSON"),
        (lambda saved: spoil_config(saved, eos_token_id=0), "Texts end with token 3"),
        (lambda saved: (saved / "tokenizer.json").unlink(), "No tokenizer"),
        (lambda saved: train_tokenizer(CORPUS, 310).save_pretrained(saved), "The tokenizer has"),
    ],
)
def test_a_directory_that_cannot_be_used_is_refused_in_one_sentence(saved, spoil, reason):
    spoil(saved)
    with pytest.raises(InputError, match=reason) as caught:
        TextVAEPipeline.from_pretrained(saved)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda p: p.encode(["fine", " \n"]), "Text 1 is blank"),
        (lambda p: p.encode(""), "Text 0 is blank"),
        (lambda p: p.reconstruct(["fine", None]), "Text 1 is of type NoneType"),
        (lambda p: p.score([1]), "Text 0 is of type int"),
        (lambda p: p.score("fine", num_samples=0), "num_samples is 0"),
        (lambda p: p.evaluate(["fine"]), "at least 2 texts, there are 1"),
        (lambda p: p.evaluate([]), "at least 2 texts, there are 0"),
        (lambda p: p.evaluate(["fine", "good"], EvaluationConfig(), seed=1), "options by name, not both"),
        (lambda p: p.evaluate(["fine", " "]), "Text 1 is blank"),
        (lambda p: p.evaluate("mine.txt"), "what textvae.data.load_texts reads from a file"),
        (lambda p: p.evaluate(Path("mine.txt")), "what textvae.data.load_texts reads from a file"),
        (lambda p: p.evaluate({"line": ["a", "b"]}), "no column 'text' but line"),
        (lambda p: p.evaluate(DataFrame({"text": [["a"], ["b"]]})), "holds values of type list"),
        (lambda p: p.evaluate(DatasetDict(dev=Dataset.from_dict({"text": ["a"]}))), "one split: give one of dev"),
        (lambda p: p.evaluate(Dataset.from_dict({"text": ["a"]}).to_iterable_dataset()), "holds texts by column"),
        (lambda p: p.evaluate(Dataset.from_dict({"line": ["a", "b"]})), "no column 'text' but line"),
        (lambda p: p.evaluate(Dataset.from_dict({"text": ["a", None]})), "Text 1 is of type NoneType"),
        (lambda p: p.evaluate(Dataset.from_dict({"text": ["a", "b"], "target": [" ", "b"]})), "Text 0 is blank"),
        (lambda p: p.encode(["fine"], batch_size=0), "batch_size is 0"),
        (lambda p: p.decode(torch.zeros(2, 5)), "latents must be"),
        (lambda p: p.decode(torch.zeros(1, 2, 12)), "latents must be"),
        (lambda p: p.sample(0), "num_samples is 0"),
        (lambda p: p.sample(1, temperature=-1.0), "temperature is -1"),
        (lambda p: p.interpolate("one", "other", num_steps=1), "num_steps is 1, it must be at least 2"),
        (lambda p: p.interpolate("one", "other", path="curly"), "path must be"),
        (lambda p: p.interpolate(["one", "two"], ["other"]), "two lists of the same length"),
        (lambda p: p.interpolate("one", ["other"]), "two lists of the same length"),
        (lambda p: p.paraphrase("fine", 0), "num_return_sequences is 0"),
        (lambda p: p.paraphrase("fine", num_candidates=0), "num_candidates is 0"),
        (lambda p: TextVAEPipeline(p.model, p.tokenizer, max_length=1), "max_length is 1"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_sentence(gru, call, reason):
    with pytest.raises(InputError, match=reason):
        call(gru)
