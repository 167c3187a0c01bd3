"""One pretrained part, and a new one for the other: whose tokenizer is whose, what is kept, what is trained."""

import pytest
import torch
from tiny_runs import (
    BERT,
    GPT2,
    GRU,
    SENTENCES,
    assert_same_checkpoint,
    config,
    kill_in_a_step,
    refusal,
    results,
    resume,
    save_decoder,
    save_encoder,
    write_lines,
)
from transformers import AutoModel

from textvae.data.tokenizer_pair import tokenizers_of_parts
from textvae.pipeline.pipeline import TextVAEPipeline
from textvae.training.build_model import build_model
from textvae.training.build_tokenizers import make_tokenizers
from textvae.training.setup import read_corpus
from textvae.training.train import train

SHORT = {
    "max_length": 48,
    "max_steps": 6,
    "save_steps": 2,
    "eval_steps": 3,
    "logging_steps": 1,
    "num_reconstructed_texts": 4,
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("parts") / "encoder")


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return save_decoder(tmp_path_factory.mktemp("parts") / "decoder")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_lines(tmp_path_factory.mktemp("corpus") / "texts.txt")


@pytest.fixture(scope="module")
def runs(encoder, decoder, corpus, tmp_path_factory):
    """What is pretrained → the settings of a run, and its directory."""
    chosen = {
        "encoder": {"encoder_name_or_path": encoder, "freeze_encoder": True},
        "decoder": {"decoder_name_or_path": decoder, "tokenizer": "sentencepiece"},
    }
    directories = {part: tmp_path_factory.mktemp(part) / "run" for part in chosen}
    for part, changes in chosen.items():
        train(config(corpus, directories[part], **SHORT, **changes))
    return {part: (chosen[part], directories[part]) for part in chosen}


def test_a_new_decoder_writes_words_of_the_corpus_and_the_encoder_reads_its_own(runs, encoder):
    pipeline = TextVAEPipeline.from_pretrained(runs["encoder"][1], device="cpu")
    assert pipeline.model.config.decoder.model_type == "gru"
    assert set(SENTENCES[7].split()) <= pipeline.tokenizer.get_vocab().keys()
    assert pipeline.encoder_tokenizer.sep_token == "[SEP]"
    saved = AutoModel.from_pretrained(encoder).state_dict()
    assert all(torch.equal(weight, saved[name]) for name, weight in pipeline.model.encoder.state_dict().items())
    assert results(runs["encoder"][1]).keys() >= {"encoder_tokens_per_word", "encoder_unknown_share"}
    assert "tokens_per_word" not in results(runs["encoder"][1]), "that tokenizer was made for the corpus"


def test_a_new_encoder_reads_what_the_decoder_writes(runs):
    pipeline = TextVAEPipeline.from_pretrained(runs["decoder"][1], device="cpu")
    model = pipeline.model
    assert (model.config.encoder.model_type, model.config.decoder.model_type) == ("bert", "llama")
    assert pipeline.encoder_tokenizer is None and pipeline.tokenizer.eos_token == "<|endoftext|>"
    assert model.encoder.get_input_embeddings().num_embeddings == len(pipeline.tokenizer)
    assert results(runs["decoder"][1])["tokens_per_word"] > 1


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_every_verb_works(runs, part):
    pipeline, texts = TextVAEPipeline.from_pretrained(runs[part][1], device="cpu"), SENTENCES[:3]
    assert pipeline.encode(texts).shape == (3, 6) and len(pipeline.score(texts)) == 3
    assert len(pipeline.reconstruct(texts)) == 3 and len(pipeline.sample(2)) == 2


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_run_killed_and_resumed_equals_one_that_was_not(runs, part, corpus, tmp_path, monkeypatch):
    changes, whole = runs[part]
    run = config(corpus, tmp_path, **SHORT, **changes)
    kill_in_a_step(run, 5, monkeypatch)
    resume(run)
    assert_same_checkpoint(tmp_path / "checkpoint-6", whole / "checkpoint-6")
    assert results(tmp_path) == results(whole)


def test_a_decoder_alone_is_its_language_model(encoder, decoder, corpus, tmp_path):
    """The encoder that would have joined it changes nothing."""
    alone, joined = (
        config(
            corpus,
            tmp_path,
            tokenizer="sentencepiece",
            latent_injection=["none"],
            decoder_name_or_path=decoder,
            encoder_name_or_path=name,
        )
        for name in (None, encoder)
    )
    scores = []
    for run in (alone, joined):
        pair = make_tokenizers(run, read_corpus(run))
        model = build_model(run, pair)
        assert model.encoder is None
        scores.append(TextVAEPipeline(model, pair.decoder, 48).score(SENTENCES[:5]))
    assert scores[0] == scores[1]


def test_the_tokenizer_of_a_new_decoder_is_trained_on_what_it_writes(encoder, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("from,to\n" + "ж ß,ю\n" * 40, encoding="utf-8")
    run = config(path, tmp_path / "run", text_column="from", target_column="to", encoder_name_or_path=encoder)
    made, own = make_tokenizers(run, read_corpus(run))
    assert "ю" in made.get_vocab() and "ж" not in made.get_vocab() and own.sep_token == "[SEP]"


def test_an_autoencoder_first_has_a_new_decoder_and_the_old_encoder(encoder, corpus, tmp_path):
    techniques = {"kl_zero_phase": 0.5, "kl_reset_decoder": True}
    pipeline = train(
        config(corpus, tmp_path / "run", encoder_name_or_path=encoder, freeze_encoder=True, **SHORT, **techniques)
    )
    saved = AutoModel.from_pretrained(encoder).state_dict()
    assert all(torch.equal(weight, saved[name]) for name, weight in pipeline.model.encoder.state_dict().items())


@pytest.mark.parametrize(
    ("part", "changes", "told"),
    [
        ("decoder", {"freeze_encoder": True}, "name a pretrained one in encoder_name_or_path"),
        ("encoder", {"lora": "decoder"}, "name a pretrained one in decoder_name_or_path"),
        ("encoder", {"decoder": {"model_type": "gpt2", "n_embd": 6, "n_head": 4}}, "No model can be built"),
        ("encoder", {"decoder": {**GPT2, "n_layrs": 2}}, "did you mean 'n_layer'"),
        ("decoder", {"encoder": {**BERT, "hidden_sise": 8}}, "did you mean 'hidden_size'"),
        ("encoder", {"max_length": 70}, "The bert has 64 positions"),
        ("decoder", {"encoder_tokenizer": "a"}, "name one in encoder_name_or_path"),
    ],
)
def test_what_cannot_be_is_refused(runs, corpus, tmp_path, part, changes, told):
    name = f"{part}_name_or_path"
    given = {name: runs[part][0][name], "tokenizer": "sentencepiece", "vocab_size": 330, "decoder": GRU}
    assert told in refusal_of(lambda: config(corpus, tmp_path / "run", **given | changes))
    assert not (tmp_path / "run").exists()


def refusal_of(make) -> str:
    """Of a config that cannot be, or of a run of it."""
    try:
        run = make()
    except Exception as error:
        return str(error)
    return refusal(run)


def test_the_tokenizer_itself_may_stand_for_the_decoder(encoder, decoder):
    tokenizer, _ = tokenizers_of_parts(None, decoder)
    assert tokenizers_of_parts(None, tokenizer) == (tokenizer, None)
    assert tokenizers_of_parts(encoder, tokenizer)[1].sep_token == "[SEP]"
