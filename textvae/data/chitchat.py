"""The default corpus: English small talk from the package chitchat-dataset."""

import json
import re
from collections.abc import Iterator
from importlib import metadata, resources
from pathlib import Path

import numpy as np
from datasets import Dataset, DatasetDict, Features, Value

from textvae.errors import InputError


def load_chitchat(seed: int = 0) -> DatasetDict:
    """The default corpus, chitchat-dataset: 196,453 unique English sentences of 5 to 30 words, small talk.

    The validation split is a seeded 2 % of the 7,168 conversations, without the sentences that training has too.

    Raises:
        InputError: if the package chitchat-dataset is not installed.
    """
    try:
        path = str(resources.files("chitchat_dataset") / "dataset.json")
    except ModuleNotFoundError as error:
        raise InputError(
            "The default corpus is not installed: pip install 'textvae[recipes]', or give your own --train_file."
        ) from error
    options = {"path": path, "seed": seed, "version": metadata.version("chitchat-dataset")}
    features = Features({"text": Value("string")})

    def split(name: str) -> Dataset:
        return Dataset.from_generator(_chitchat, features=features, gen_kwargs={**options, "name": name})

    return DatasetDict({name: split(name) for name in ("train", "validation")})


def _chitchat(path: str, seed: int, version: str, name: str) -> Iterator[dict]:
    """The texts of one split; `version` is part of the cache key."""
    conversations = [_sentences(conversation) for conversation in json.loads(Path(path).read_bytes()).values()]
    order = np.random.default_rng(seed).permutation(len(conversations))
    held_out = set(order[: round(0.02 * len(order))].tolist())
    splits = {"train": {}, "validation": {}}  # dictionaries, as sets that keep their order
    for index, sentences in enumerate(conversations):
        splits["validation" if index in held_out else "train"].update(dict.fromkeys(sentences))
    for sentence in splits[name]:
        if name == "train" or sentence not in splits["train"]:
            yield {"text": sentence}


def _sentences(conversation: dict) -> list[str]:
    utterances = (message["text"] for turn in conversation["messages"] for message in turn)
    parts = (part.strip() for utterance in utterances for part in re.split(r"(?<=[.!?])\s+|\n+", utterance))
    return [part for part in parts if 5 <= len(part.split()) <= 30]
