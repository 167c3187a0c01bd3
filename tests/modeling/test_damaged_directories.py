"""Whatever is wrong with the files of a model: it opens, or one sentence names the place; and no code of it is run."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_runs import BERT, GRU, SENTENCES, save_decoder, save_encoder

from textvae import TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.data.tokenization import train_word_tokenizer
from textvae.data.tokenizer_pair import tokenizers_of_parts
from textvae.errors import InputError
from textvae.modeling.base_weights import new_base

FILES = ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]
WEIGHTS = ["model.safetensors.index.json", "model-00001-of-00002.safetensors"]
DAMAGE = {
    "empty": lambda content: b"",
    "a list": lambda content: b"[]",
    "null": lambda content: b"null",
    "an empty object": lambda content: b"{}",
    "cut": lambda content: content[: len(content) // 2],
    "noise": lambda content: bytes(range(256)),
    "not UTF-8": lambda content: content.replace(b"e", b"\xe9", 1),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "model"
    tokenizer = train_word_tokenizer(SENTENCES)
    size = {"vocab_size": len(tokenizer)}
    config = TextVAEConfig(encoder={**BERT, **size}, decoder={**GRU, **size}, latent_size=4)
    model = TextVAEModel(config)
    model.save_pretrained(directory, max_shard_size="15KB")
    tokenizer.save_pretrained(directory)
    assert {path.name for path in directory.iterdir()} >= {*FILES, *WEIGHTS}
    return directory


@pytest.fixture
def copied(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def opens_or_says_why(directory: Path) -> str | None:
    """The sentence, if there is one."""
    try:
        TextVAEPipeline.from_pretrained(directory, device="cpu")
    except InputError as error:
        message = str(error)
        assert str(directory) in message and "\n" not in message and message.endswith(".") and len(message) < 400
        return message
    return None


@pytest.mark.parametrize("file", [*FILES, *WEIGHTS])
def test_a_damaged_file(copied, file):
    path = copied / file
    whole = path.read_bytes()
    for damage in DAMAGE.values():
        path.write_bytes(damage(whole))
        opens_or_says_why(copied)
    path.unlink()
    opens_or_says_why(copied)
    path.mkdir()
    opens_or_says_why(copied)
    path.rmdir()
    path.write_bytes(whole)
    assert opens_or_says_why(copied) is None


@pytest.mark.parametrize("file", [*FILES, WEIGHTS[0]])
def test_a_value_of_another_type(copied, file):
    path = copied / file
    whole = json.loads(path.read_text())
    for name in whole:
        path.write_text(json.dumps(whole | {name: {"a": 1}}))
        opens_or_says_why(copied)


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json"])
def test_the_sentence_names_the_file_that_is_no_object(copied, file):
    (copied / file).write_text("[]")
    assert f"({file} is not a valid JSON object)" in opens_or_says_why(copied)


# bases


@pytest.fixture
def on_a_base(saved, tmp_path):
    """(name, name of the base) → a model whose encoder is that of the base."""

    def save(name: str, base: str) -> Path:
        directory = shutil.copytree(saved, tmp_path / name)
        config = json.loads((directory / "config.json").read_text())
        config["base"] = {"encoder": {"name_or_path": str(tmp_path / base), "dtype": "float32", "lora": None}}
        config["base"]["encoder"] |= {"quantization": "none", "sha256": new_base(str(saved), "encoder")["sha256"]}
        (directory / "config.json").write_text(json.dumps(config))
        return directory

    return save


def test_a_model_that_is_its_own_base_is_refused(on_a_base):
    alone, one, _ = on_a_base("alone", "alone"), on_a_base("one", "other"), on_a_base("other", "one")
    for directory in (alone, one):
        assert "which is itself or needs it" in opens_or_says_why(directory)


@pytest.mark.parametrize("wrong", [[], "x", {"encoder": 1}, {"middle": {}}, {"encoder": {}}, {"decoder": None}])
def test_a_base_of_another_shape_is_refused(copied, wrong):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"base": wrong}))
    assert opens_or_says_why(copied) is not None


# code


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("kind", ["text VAE", "encoder", "decoder"])
def test_no_code_of_a_model_is_run_and_nobody_is_asked(saved, tmp_path, monkeypatch, kind, file):
    parts = {"encoder": save_encoder(tmp_path / "encoder"), "decoder": save_decoder(tmp_path / "decoder")}
    directory = Path(parts.get(kind) or shutil.copytree(saved, tmp_path / "model"))
    (directory / "theirs.py").write_text(f"open({str(tmp_path / 'run')!r}, 'w')\n")
    names = {"AutoConfig": "theirs.A", "AutoModel": "theirs.B", "AutoModelForCausalLM": "theirs.B"}
    names = names if file == "config.json" else {"AutoTokenizer": ["theirs.C", "theirs.C"]}
    whole = json.loads((directory / file).read_text())
    monkeypatch.setattr("builtins.input", lambda *_: "y")

    def open_it():
        if kind == "text VAE":
            TextVAEPipeline.from_pretrained(directory, device="cpu")
        elif file == "config.json":
            TextVAEModel.from_encoder_decoder(*parts.values(), eos_token_id=1)
        else:
            tokenizers_of_parts(*parts.values())

    unknown = {"model_type": "theirs"} if file == "config.json" else {"tokenizer_class": "Theirs"}
    for changes in ({}, unknown):
        (directory / file).write_text(json.dumps(whole | {"auto_map": names} | changes))
        try:
            open_it()
        except InputError as error:
            assert changes and "runs no such code" in str(error)
    assert not (tmp_path / "run").exists()
