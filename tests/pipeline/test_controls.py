"""Decoding controls: those of Hugging Face do what they do there; what a verb cannot use is refused before any work."""

import re

import numpy as np
import pytest
import torch
from tiny_pipelines import LATENT_SIZE, TEXTS, build, pipeline
from transformers import GenerationConfig

from textvae.errors import InputError

CODES = torch.randn(4, LATENT_SIZE, generator=torch.Generator().manual_seed(0)) * 2


@pytest.mark.parametrize(
    ("controls", "reason"),
    [
        ({"nun_beams": 2}, "no argument or decoding control 'nun_beams'; did you mean 'num_beams'?"),
        ({"batchsize": 2}, "did you mean 'batch_size'?"),
        ({"generation_config": GenerationConfig(topp=0.5)}, "did you mean 'top_p'?"),
        ({"num_beams": 0}, "num_beams is 0, it must be at least 1"),
        ({"num_beams": "4"}, "num_beams is '4', it must be a whole number"),
        ({"do_sample": "yes"}, "do_sample is 'yes', it must be True or False"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"max_length": 1}, "max_length is 1, it must be at least 2, as it counts BOS"),
        ({"max_length": 4, "max_new_tokens": 3}, "Both max_new_tokens and max_length"),
        ({"max_new_tokens": 3, "min_new_tokens": 4}, "at least 4 tokens cannot have at most 3"),
        ({"min_length": 8}, "at least 7 tokens cannot have at most 5"),
        ({"max_new_tokens": 32}, "The decoder has positions for 31 tokens, and not for 32"),
        ({"temperature": 0, "do_sample": True}, "temperature is 0"),
        ({"top_p": 1.5}, "top_p is 1.5, it must be from 0 to 1"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty is nan"),
        ({"num_return_sequences": 3}, "greedy decoding writes one text: add num_beams=3 or do_sample=True"),
        ({"num_return_sequences": 3, "num_beams": 2}, "give as many beams, or more"),
        ({"suppress_tokens": [10**6]}, "suppress_tokens is 1000000, it must be a token from 0 to"),
        ({"suppress_tokens": []}, "suppress_tokens is empty"),
        ({"eos_token_id": 2.5}, "eos_token_id is 2.5"),
        ({"stop_strings": [3]}, "stop_strings is [3]"),
        ({"stop_strings": "\ud83d"}, "half a character"),
        ({"early_stopping": "now", "num_beams": 2}, "transformers cannot use early_stopping"),
        ({"bad_words_ids": [3]}, "transformers cannot use bad_words_ids"),
        ({"logits_processor": len}, "logits_processor is <built-in function len>, it must be a list of functions"),
        ({"prefix_allowed_tokens_fn": 3}, "prefix_allowed_tokens_fn is 3, it must be a function"),
        ({"generation_config": {"num_beams": 2}}, "it must be a GenerationConfig of transformers"),
        ({"generation_config": GenerationConfig(num_beams=0)}, "num_beams is 0"),
        ({"return_dict_in_generate": True}, "as the verbs return texts"),
        ({"output_scores": True}, "as the verbs return texts"),
        ({"streamer": object()}, "as the verbs return texts"),
        ({"custom_generate": "me/mine", "trust_remote_code": True}, "code that is not part of transformers"),
        ({"penalty_alpha": 0.6, "top_k": 4}, "code that is not part of transformers"),
        ({"assistant_model": object()}, "without an assistant"),
        ({"cache_implementation": "static"}, "as the pipeline sees to it"),
    ],
)
def test_a_control_that_cannot_be_used_is_refused(controls, reason):
    vae = pipeline("llama")
    for call in (lambda: vae.decode(CODES, **controls), lambda: vae.reconstruct(TEXTS, **controls)):
        with pytest.raises(InputError, match=re.escape(reason)) as error:
            call()
        assert "\n" not in str(error.value) and len(str(error.value)) <= 400


def test_most_are_refused_before_a_text_is_read():
    for verb in (pipeline().reconstruct, pipeline().paraphrase):
        with pytest.raises(InputError, match="num_beams is 0"):
            verb(None, num_beams=0)


def test_numbers_of_python_and_numpy_are_taken_where_transformers_wants_others():
    vae = pipeline()
    drawn = vae.decode(CODES, seed=0, do_sample=True, temperature=2.0, top_k=5)
    assert vae.decode(CODES, seed=0, do_sample=np.True_, temperature=2, top_k=np.int64(5)) == drawn
    assert vae.decode(CODES, num_beams=None, top_p=None) == vae.decode(CODES)
    tokens = vae.tokenizer.convert_tokens_to_ids(["pizza", "we"])
    assert vae.decode(CODES, suppress_tokens=np.array(tokens)) == vae.decode(CODES, suppress_tokens=tokens)


def test_a_text_ends_with_a_stop_string():
    vae = pipeline()
    endless = {"suppress_tokens": vae.tokenizer.convert_tokens_to_ids(["<pad>", "<s>", "</s>"])}
    for stop in vae.decode(CODES[0], **endless).split()[:3]:
        whole, stopped = vae.decode(CODES, **endless), vae.decode(CODES, stop_strings=stop, **endless)
        assert stopped == [text[: text.find(stop) + len(stop)] if stop in text else text for text in whole]
        assert vae.decode(CODES, stop_strings=[stop, "never"], **endless) == stopped


def test_a_generation_config_without_a_limit_has_that_of_the_pipeline():
    vae = pipeline()
    endless = {"suppress_tokens": vae.tokenizer.convert_tokens_to_ids(["<pad>", "<s>", "</s>"])}
    for written in (
        vae.decode(CODES, generation_config=GenerationConfig(**endless)),
        vae.decode(CODES, generation_config=vae.model.generation_config, **endless),
    ):
        assert [len(text.split()) for text in written] == [5] * 4
    written = vae.decode(CODES, generation_config=GenerationConfig(max_new_tokens=2, **endless), max_new_tokens=3)
    assert written == vae.decode(CODES, max_new_tokens=3, **endless)  # an argument wins


def test_a_z_from_which_nothing_can_be_computed_is_named():
    vae = build("gru")
    with torch.no_grad():
        vae.model.decoder.model.embed_tokens.weight.fill_(float("nan"))
    for controls in ({}, {"do_sample": True}, {"num_beams": 2}):
        with pytest.raises(InputError, match="no finite numbers from z 0"):
            vae.decode(CODES, **controls)
    far = torch.cat([CODES, torch.full((1, LATENT_SIZE), 1e18)])
    with torch.no_grad():
        vae.model.decoder.model.embed_tokens.weight.fill_(1.0)
        vae.model.injection.to_prefix.weight.fill_(1e25)
    with pytest.raises(InputError, match="no finite numbers from z 4"):
        vae.decode(far, num_beams=2, batch_size=5)


def test_what_the_users_own_function_raises_is_left_as_it_is():
    def fail(input_ids, scores):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="^mine$") as error:
        pipeline().decode(CODES, logits_processor=[fail])
    assert not isinstance(error.value, InputError)
