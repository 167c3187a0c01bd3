"""Texts on their way in: corpora, tokenizers, labels, noise and batches.

A file format goes into `corpora`. The tokens that a decoder must write are called targets here, and labels are classes
of texts.
"""

from textvae.data.chitchat import load_chitchat
from textvae.data.corpora import Texts, check_strings, iterate_texts, load_corpus, load_texts
from textvae.data.extend_tokenizer import extend_tokenizer
from textvae.data.noise import InputNoise
from textvae.data.special_tokens import IGNORED
from textvae.data.tokenization import load_tokenizer, train_word_tokenizer
from textvae.data.tokenize import tokenize_corpus
from textvae.data.tokenizer_pair import load_tokenizers
from textvae.data.training_batches import LengthGroupedBatches, StreamedBatches
from textvae.data.unigram import train_tokenizer
from textvae.data.words import word_count

__all__ = [
    "IGNORED",
    "InputNoise",
    "LengthGroupedBatches",
    "StreamedBatches",
    "Texts",
    "check_strings",
    "extend_tokenizer",
    "iterate_texts",
    "load_chitchat",
    "load_corpus",
    "load_texts",
    "load_tokenizer",
    "load_tokenizers",
    "tokenize_corpus",
    "train_tokenizer",
    "train_word_tokenizer",
    "word_count",
]
