"""Judges: what they say of a text is by hand the same, alone or in company, and what cannot judge is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_runs import BERT, SENTENCES, save_decoder, save_encoder
from transformers import AutoTokenizer, BertConfig, BertLMHeadModel

from textvae.errors import InputError
from textvae.evaluation import judges
from textvae.evaluation.judges import LanguageModel, SentenceEncoder, open_judges, start_of_text

CPU = torch.device("cpu")
TEXTS = [SENTENCES[0], "", "a", "<|endoftext|>", SENTENCES[-1] + "!", "é", "  "]


@pytest.fixture(scope="module")
def decoder(tmp_path_factory):
    return save_decoder(tmp_path_factory.mktemp("decoder"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("encoder"))


def test_nats_are_those_of_all_tokens_from_the_start_of_a_text(decoder):
    judge = LanguageModel(decoder, CPU)
    nats, tokens = judge.nats(TEXTS)
    for text, found, count in zip(TEXTS, nats, tokens, strict=True):
        ids = torch.tensor([[*judge.starts, *judge.tokenizer(text)["input_ids"]]])
        with torch.no_grad():
            expected = -judge.model(ids).logits.log_softmax(-1)[0, :-1].gather(1, ids[0, 1:, None]).sum()
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert count == ids.shape[1] - 1
    assert judge.starts == [judge.tokenizer.convert_tokens_to_ids("<|endoftext|>")]
    assert tokens.tolist()[1:3] == [0, 1] and nats[1] == 0 and tokens[3] > 1, "a special token in a text is text"


def test_a_judge_that_knows_no_start_counts_from_the_second_token(decoder, monkeypatch):
    whole, _ = LanguageModel(decoder, CPU).nats(TEXTS)
    monkeypatch.setattr(judges, "start_of_text", lambda _: [])
    nats, tokens = LanguageModel(decoder, CPU).nats(TEXTS)
    assert tokens.tolist()[1:3] == [0, 0] and nats.isfinite().all() and (nats[1:3] == 0).all()
    assert (nats[[0, 4]] != whole[[0, 4]]).all()


@pytest.mark.parametrize("tokens_at_once", [1, 40])
def test_company_and_batches_change_nothing(decoder, encoder, monkeypatch, tokens_at_once):
    judge, sentences = LanguageModel(decoder, CPU), SentenceEncoder(encoder, CPU)
    nats, _ = judge.nats(TEXTS)
    embedded = sentences.embed(TEXTS)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(len(TEXTS)))
    monkeypatch.setattr(judges, "TOKENS_AT_ONCE", tokens_at_once)
    with torch.autocast("cpu", torch.bfloat16):  # and so does the precision of the model that wrote
        torch.testing.assert_close(judge.nats(TEXTS)[0], nats, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(sentences.embed(TEXTS[::-1]), embedded.flip(0), rtol=1e-4, atol=1e-4)


def test_a_text_beyond_the_positions_of_a_judge_is_cut(decoder, encoder):
    long = "a cup of coffee " * 100
    assert LanguageModel(decoder, CPU).nats([long])[1].item() == 64
    sentences = SentenceEncoder(encoder, CPU)
    torch.testing.assert_close(*sentences.embed([long, long + long]))


@pytest.mark.parametrize(
    ("special", "start"),
    [
        ({"bos_token": "<chat>", "eos_token": "<end>", "unk_token": "<|endoftext|>"}, ["<|endoftext|>"]),
        ({"bos_token": "<s>", "eos_token": "</s>"}, ["<s>"]),
        ({"eos_token": "</s>"}, ["</s>"]),
        ({"unk_token": "<unk>"}, []),
    ],
)
def test_a_text_starts_as_those_of_training_did(tmp_path, encoder, special, start):
    tokenizer = AutoTokenizer.from_pretrained(save_decoder(tmp_path, **special))
    assert tokenizer.convert_ids_to_tokens(start_of_text(tokenizer)) == start
    leading = AutoTokenizer.from_pretrained(encoder)
    assert leading.convert_ids_to_tokens(start_of_text(leading)) == ["[CLS]"]


def save_bert(directory: Path, encoder: str) -> None:
    """A BERT that AutoModelForCausalLM opens, whose states depend on later tokens."""
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.save_pretrained(directory)
    values = {name: value for name, value in BERT.items() if name != "model_type"}
    BertLMHeadModel(BertConfig(**values, vocab_size=len(tokenizer))).save_pretrained(directory)


def test_what_is_no_judge_is_refused_in_one_sentence(decoder, encoder, tmp_path):
    save_bert(tmp_path / "bert", encoder)
    for name in ("code", "small"):
        shutil.copytree(decoder, tmp_path / name)
    config = json.loads((tmp_path / "code" / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Mine"}}
    (tmp_path / "code" / "config.json").write_text(json.dumps(config))
    (tmp_path / "code" / "mine.py").write_text("raise SystemExit('it ran')")
    tokenizer = AutoTokenizer.from_pretrained(decoder)
    tokenizer.add_tokens(["one", "more"])
    tokenizer.save_pretrained(tmp_path / "small")
    told = {
        "nowhere": "no directory",
        "bert": "attends to later tokens",
        "code": "runs no such code",
        "small": "302 tokens and the model 300",
    }
    for name, reason in told.items():
        with pytest.raises(InputError, match=reason) as error:
            open_judges(str(tmp_path / name), None, CPU)
        assert "\n" not in str(error.value) and len(str(error.value)) < 400
    with pytest.raises(InputError, match="no directory"):
        open_judges(None, str(tmp_path / "nowhere"), CPU)


def test_an_encoder_without_scikit_learn_is_refused_before_it_is_opened(monkeypatch):
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match="needs the package scikit-learn"):
        open_judges(None, "nowhere", CPU)
