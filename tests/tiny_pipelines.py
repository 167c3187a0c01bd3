"""Pipelines that are made in no time, as they have learnt nothing."""

import functools

import torch

from textvae import TextVAEConfig, TextVAEModel, TextVAEPipeline
from textvae.data.tokenization import train_word_tokenizer

LATENT_SIZE = 3
LABELS = ("gloomy", "sunny")
WORDS = "we like pizza and the movie , not your garden".split()
TEXTS = ["we like pizza", "the movie , not your garden", "we like the garden and pizza", "pizza"]
SIZES = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
LLAMA = {**SIZES, "model_type": "llama", "num_key_value_heads": 1, "max_position_embeddings": 32}
DECODERS = {"gru": {"model_type": "gru", "hidden_size": 8, "embedding_size": 6}, "llama": LLAMA}


def build(decoder: str = "gru", label_names: tuple[str, ...] = ()) -> TextVAEPipeline:
    """Texts of at most 5 tokens; of a llama with 32 positions, one of which holds z."""
    torch.manual_seed(0)
    tokenizer = train_word_tokenizer([" ".join(WORDS)])
    config = TextVAEConfig(
        encoder={**SIZES, "model_type": "bert", "vocab_size": len(tokenizer)},
        decoder={**DECODERS[decoder], "vocab_size": len(tokenizer)},
        latent_size=LATENT_SIZE,
        label_names=list(label_names),
        initializer_range=1.0,
    )
    return TextVAEPipeline(TextVAEModel(config), tokenizer, max_length=5)


pipeline = functools.cache(build)
