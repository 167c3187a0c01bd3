"""Runs of a second or so, which the tests of training, checkpoints, recipes and processes share."""

import itertools
import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedTokenizerFast

from textvae.errors import InputError
from textvae.training.config import TrainingConfig
from textvae.training.progress import Meter
from textvae.training.train import train

SUBJECTS = ["I", "we", "my sister", "the old dog", "nobody here"]
VERBS = ["like", "never saw", "would love to have", "talked about"]
OBJECTS = ["pizza", "the new movie", "a cup of coffee", "your garden", "music from the eighties"]
SENTENCES = [f"{s} {v} {o}{e}" for s, v, o, e in itertools.product(SUBJECTS, VERBS, OBJECTS, [" .", " !"])]

BERT = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}
GRU = {"model_type": "gru", "embedding_size": 12, "hidden_size": 20}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 64}


def write_lines(path: Path, texts: list[str] = SENTENCES) -> Path:
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


def settings(train_file: Path, output_dir: Path, /, **changes) -> dict:
    """A tiny run on one device; `changes` win. It leaves nothing to the defaults that they may one day change."""
    return {
        "train_file": str(train_file),
        "validation_split": 0.1,
        "tokenizer": "word",
        "max_length": 20,
        "encoder": BERT,
        "decoder": GRU,
        "latent_size": 6,
        "latent_injection": ["prefix"],
        "position_waves": 0,
        "tie_encoder_embeddings": False,
        "initializer_range": 0.08,
        "optimizer": "adamw",
        "beta": 1.0,
        "kl_schedule": "linear",
        "kl_warmup": 0.25,
        "free_bits": 0.0,
        "learning_rate": 2e-3,
        "lr_scheduler_type": "linear",
        "warmup_ratio": 0.03,
        "max_grad_norm": 1.0,
        "output_dir": str(output_dir),
        "per_device_train_batch_size": 16,
        "per_device_eval_batch_size": 16,
        "max_steps": 6,
        "mixed_precision": "no",
        "num_importance_samples": 3,
        "num_prior_samples": 8,
        "model_card_samples": False,
        **changes,
    }


def config(train_file: Path, output_dir: Path, /, **changes) -> TrainingConfig:
    return TrainingConfig.from_dict(settings(train_file, output_dir, **changes))


def save_encoder(directory: Path) -> str:
    """A tiny pretrained BERT that reads word pieces, between [CLS] and [SEP]."""
    special = {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    }
    letters = sorted(set("".join(SENTENCES)) - {" "})
    parts = [
        *special.values(),
        *letters,
        *(f"##{letter}" for letter in letters),
        "the",
        "movie",
        "talk",
        "##ed",
        "##er",
    ]
    pieces = Tokenizer(models.WordPiece({part: index for index, part in enumerate(parts)}, unk_token="[UNK]"))
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(end, pieces.token_to_id(end)) for end in ("[CLS]", "[SEP]")]
    pieces.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    pieces.decoder = decoders.WordPiece()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, **special)
    return _save(directory, tokenizer, AutoModel, BERT)


def save_decoder(directory: Path, **special_tokens: str) -> str:
    """A tiny pretrained Llama that writes bytes and pairs of them, and ends as GPT-2 does unless told otherwise."""
    special_tokens = special_tokens or dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")
    pairs = Tokenizer(models.BPE())
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pairs.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=[*dict.fromkeys(special_tokens.values())],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    pairs.train_from_iterator(SENTENCES, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pairs, **special_tokens)
    return _save(directory, tokenizer, AutoModelForCausalLM, LLAMA)


def save_parts(directory: Path) -> dict[str, str]:
    """Both, and the settings that name them; `sentencepiece` is the default, which stands for none."""
    return {
        "encoder_name_or_path": save_encoder(directory / "encoder"),
        "decoder_name_or_path": save_decoder(directory / "decoder"),
        "tokenizer": "sentencepiece",
    }


def _save(directory: Path, tokenizer, kind: type, values: dict) -> str:
    torch.manual_seed(len(tokenizer))
    config = AutoConfig.for_model(**values, vocab_size=len(tokenizer))
    kind.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return str(directory)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file under a directory, by its relative name."""
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def results(output_dir: Path) -> dict:
    """What a run measured, but for its times."""
    report = json.loads((output_dir / "metrics.json").read_text())
    return {name: value for name, value in report.items() if not name.endswith("_seconds")}


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def assert_same_state(first, second, where: str = "") -> None:
    """Equal bit for bit: tensors, arrays, numbers and what is made of them."""
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert first.keys() == second.keys(), where
        for name in first:
            assert_same_state(first[name], second[name], f"{where}.{name}")
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second), where
        for index, pair in enumerate(zip(first, second, strict=True)):
            assert_same_state(*pair, f"{where}[{index}]")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    elif type(first).__module__ == "numpy":
        assert (first == second).all(), where
    else:
        assert first == second, where


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can become larger than so many bytes, and what is written beyond fails as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def assert_follow_umask(directory: Path, value: int) -> None:
    """Every file may be read and written by whom the umask does not exclude."""
    modes = {str(path): path.stat().st_mode & 0o777 for path in directory.rglob("*") if path.is_file()}
    assert modes and modes == dict.fromkeys(modes, 0o666 & ~value)


PROGRESS = "custom_checkpoint_1.pkl"  # of a checkpoint


def progress_of(checkpoint: Path) -> dict:
    """Where the run stood, but for its time."""
    state = torch.load(checkpoint / PROGRESS, weights_only=False)
    del state["seconds"]
    return state


def assert_same_checkpoint(first: Path, second: Path) -> None:
    """Weights, optimizer, schedule, counters and random states, file by file; of the progress all but its seconds."""
    names = [path.name for path in sorted(first.iterdir())]
    assert names == [path.name for path in sorted(second.iterdir())]
    for name in names:
        if name.endswith(".safetensors"):
            assert_same_state(load_file(first / name), load_file(second / name), name)
        elif name == PROGRESS:
            assert_same_state(progress_of(first), progress_of(second), name)
        elif name.endswith((".bin", ".pkl")):
            pair = (torch.load(path / name, weights_only=False) for path in (first, second))
            assert_same_state(*pair, name)
    assert {"model.safetensors", "optimizer.bin", "random_states_0.pkl", PROGRESS} < set(names)


def logged(output_dir: Path, name: str) -> list[tuple[int, float]]:
    """Steps and values that a run gave to tensorboard."""
    events = EventAccumulator(str(next(output_dir.rglob("events.out.tfevents*")).parent))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


class Killed(BaseException):
    """Nothing in the package catches it."""


def in_a_step(monkeypatch, number: int) -> None:
    """A run that shows this step is killed there."""
    show = Meter.show

    def killed(self, step, *args):
        if step == number:
            raise Killed
        return show(self, step, *args)

    monkeypatch.setattr(Meter, "show", killed)


def kill_in_a_step(run: TrainingConfig, number: int, monkeypatch) -> None:
    """Train until this step is shown, and no further."""
    with monkeypatch.context() as patch:
        in_a_step(patch, number)
        with pytest.raises(Killed):
            train(run)


def resume(run: TrainingConfig) -> None:
    """Train on, as a new process would, whose random state is another."""
    torch.manual_seed(99)
    run.resume_from_checkpoint = "latest"
    train(run)


def refusal(run: TrainingConfig) -> str:
    """The one sentence that a run is refused with."""
    with pytest.raises(InputError) as error:
        train(run)
    message = str(error.value)
    assert "\n" not in message and message.endswith((".", "?")) and len(message) < 400
    return message
