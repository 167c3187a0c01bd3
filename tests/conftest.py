"""What all tests share: no network, one thread, a data cache of their own, and tiny models with restless weights."""

import os
import tempfile

# Read when the libraries are imported, and inherited by the processes that some tests start and by pytest-xdist's
# workers, which share one data cache.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="textvae-tests-", ignore_cleanup_errors=True)
    os.environ["HF_DATASETS_CACHE"] = _CACHE.name

import pytest  # noqa: E402
import torch  # noqa: E402
from datasets import DatasetDict  # noqa: E402

from textvae import TextVAEConfig, TextVAEModel  # noqa: E402
from textvae.data.chitchat import load_chitchat  # noqa: E402
from textvae.report.samples import Samples  # noqa: E402

# B, S, T, Z, P and every width differ, so that no mix-up of two of them goes unseen.
VOCAB_SIZE = 37
LATENT_SIZE = 5
BERT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
LLAMA = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 28,
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
ENCODERS = {
    "bert": {"model_type": "bert", **BERT},
    "roberta": {"model_type": "roberta", **BERT},
    "distilbert": {"model_type": "distilbert", "dim": 24, "n_layers": 2, "n_heads": 2, "hidden_dim": 40},
    "t5": {"model_type": "t5", "d_model": 24, "d_kv": 10, "num_layers": 2, "num_heads": 2, "d_ff": 40},
    "modernbert": {"model_type": "modernbert", "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3, **BERT},
}
DECODERS = {
    "gru": {"model_type": "gru", "embedding_size": 14, "hidden_size": 18},
    "gru2": {"model_type": "gru", "embedding_size": 14, "hidden_size": 18, "num_hidden_layers": 2},
    "gpt2": {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, **SPECIAL},
    "llama": {"model_type": "llama", **LLAMA, **SPECIAL},
    "qwen2": {"model_type": "qwen2", **LLAMA, **SPECIAL},
}
NO_DROPOUT = {
    "bert": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "roberta": ("hidden_dropout_prob", "attention_probs_dropout_prob"),
    "distilbert": ("dropout", "attention_dropout"),
    "t5": ("dropout_rate",),
    "modernbert": (),
    "gru": ("dropout",),
    "gpt2": ("resid_pdrop", "embd_pdrop", "attn_pdrop"),
    "llama": (),
    "qwen2": (),
}


def shake(model: torch.nn.Module, scale: float = 0.2, seed: int = 1) -> torch.nn.Module:
    """Noise on every parameter, so that nothing hides behind a zero or a one; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def part(kind: dict[str, dict], name: str, **changes) -> dict:
    """A sub-config without dropout."""
    values = {"vocab_size": VOCAB_SIZE, **kind[name]}
    return {**values, **dict.fromkeys(NO_DROPOUT[values["model_type"]], 0.0), **changes}


def make(encoder: str = "bert", decoder: str = "gru", encoder_changes=None, decoder_changes=None, **config):
    """A tiny shaken model, the same at every call with the same arguments."""
    torch.manual_seed(0)
    config = TextVAEConfig(
        encoder=part(ENCODERS, encoder, **(encoder_changes or {})),
        decoder=part(DECODERS, decoder, **(decoder_changes or {})),
        **{"latent_size": LATENT_SIZE, **config},
    )
    return shake(TextVAEModel(config))


def texts_of(lengths: list[int], width: int | None = None, seed: int = 0) -> dict[str, torch.Tensor]:
    """Random texts of these lengths, each ended by EOS, padded on the right: `input_ids` and `attention_mask`."""
    generator = torch.Generator().manual_seed(seed)
    width = width or max(lengths)
    mask = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
    ids = torch.randint(4, VOCAB_SIZE, mask.shape, generator=generator) * mask
    ids[torch.arange(len(lengths)), torch.tensor(lengths) - 1] = 3
    return {"input_ids": ids, "attention_mask": mask}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Also where the library asks for as many threads as there are cores: the workers have them all already."""
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)


@pytest.fixture(scope="session")
def chitchat() -> DatasetDict:
    """The default corpus, whose 196,453 sentences the first worker that asks writes into the shared cache."""
    return load_chitchat()


@pytest.fixture(scope="session")
def make_model():
    return make


@pytest.fixture(scope="session")
def make_texts():
    return texts_of


@pytest.fixture(scope="session")
def make_part():
    """(`"encoder"` or `"decoder"`, name, changes) → a tiny sub-config as a dictionary."""
    return lambda side, name, **changes: part({"encoder": ENCODERS, "decoder": DECODERS}[side], name, **changes)


@pytest.fixture(scope="session")
def shaken():
    return shake


@pytest.fixture(scope="module")
def short_reports():
    """The samples on the model card take most of the time of a tiny run, for tests that do not look at them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textvae.report.report.of_held_out", lambda *_: [Samples("", [], quotes=True)])
        patch.setattr("textvae.report.report.of_prior", lambda *_: [])
        yield
