"""What a pipeline is made of, what it says of itself, and where it can be put."""

import re

import pytest
import torch
from tiny_pipelines import LABELS, TEXTS, build, pipeline

from textvae import TextVAEPipeline
from textvae.errors import InputError


def test_it_describes_itself_in_one_line():
    vae = pipeline("llama", LABELS)
    assert repr(vae) == (
        f"TextVAEPipeline(parameters={vae.model.num_parameters():,}, encoder=bert, decoder=llama, latent_size=3, "
        f"latent_injection=prefix, vocabulary={len(vae.tokenizer)}, max_length=5, labels=['gloomy', 'sunny'], "
        "device=cpu, dtype=float32)"
    )
    assert "labels" not in repr(pipeline())


def test_it_moves_to_a_device_and_is_still_itself():
    vae = build()
    assert vae.to("cpu") is vae and vae.to(torch.device("cpu")).device == torch.device("cpu")


@pytest.mark.parametrize("device", ["cuda:77", "gpu", "meta", None, 2.5])
def test_a_device_that_is_not_there_is_refused(device):
    vae = build()
    with pytest.raises(InputError, match="device") as error:
        vae.to(device)
    assert "\n" not in str(error.value) and len(str(error.value)) <= 400
    assert len(vae.encode(TEXTS)) == len(TEXTS)
    if device is not None:
        with pytest.raises(InputError, match="device"):
            TextVAEPipeline.from_pretrained("nowhere", device=device)


@pytest.mark.parametrize("dtype", ["float99", torch.int8, 3, None])
def test_a_dtype_that_weights_cannot_have_is_refused(dtype):
    with pytest.raises(InputError, match="dtype is .*, it must be auto, float32, bfloat16 or float16"):
        TextVAEPipeline.from_pretrained("nowhere", dtype=dtype)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (lambda vae: ("runs/mine", vae.tokenizer), "model is of type str"),
        (lambda vae: (vae.tokenizer, vae.model), "model is of type TokenizersBackend"),
        (lambda vae: (vae.model, "runs/mine"), "tokenizer is of type str"),
        (lambda vae: (vae.model, None), "tokenizer is of type NoneType"),
        (lambda vae: (vae.model, vae.tokenizer, 5, vae.model), "encoder_tokenizer is of type TextVAEModel"),
        (lambda vae: (vae.model, vae.tokenizer, "5"), "max_length is '5', it must be a whole number"),
        (lambda vae: (vae.model, vae.tokenizer, 32), "The llama has 32 positions, too few for max_length 32 + 1"),
    ],
)
def test_other_parts_are_refused(arguments, reason):
    with pytest.raises(InputError, match=re.escape(reason)):
        TextVAEPipeline(*arguments(pipeline("llama")))
