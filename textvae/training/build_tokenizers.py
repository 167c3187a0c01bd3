"""The tokenizers of a run."""

from pathlib import Path

from transformers import PreTrainedTokenizerBase

from textvae.data.corpora import iterate_texts
from textvae.data.tokenization import MAX_LENGTH, check_vocabulary, load_tokenizer, train_word_tokenizer
from textvae.data.tokenizer_pair import Pair, load_tokenizers, tokenizers_of_parts
from textvae.data.unigram import train_tokenizer
from textvae.processes import from_main
from textvae.training.config import TrainingConfig
from textvae.training.fine_tuning import extended_tokenizers


def prepare_tokenizers(config: TrainingConfig, corpus, checkpoint: Path | None) -> Pair:
    """The interrupted run's tokenizers, or those that the main process makes."""
    if checkpoint is not None:
        pair = load_tokenizers(config.output_dir)
        return _limited(pair, config.max_length or pair[0].model_max_length)
    return from_main(lambda: make_tokenizers(config, corpus))


def make_tokenizers(config: TrainingConfig, corpus) -> Pair:
    """The tokenizers of the run, with its `max_length` as their `model_max_length`."""
    if config.model_name_or_path is not None:
        pair = extended_tokenizers(config, corpus["train"])
        return _limited(pair, config.max_length or pair[0].model_max_length)
    if config.decoder_name_or_path is None:
        decoder = _make_tokenizer(config, corpus)
    else:
        decoder = config.decoder_name_or_path if config.tokenizer == "sentencepiece" else config.tokenizer
    pair = tokenizers_of_parts(config.encoder_tokenizer or config.encoder_name_or_path, decoder)
    return _limited(pair, config.max_length or MAX_LENGTH)


def _limited(pair: Pair, max_length: int) -> Pair:
    for tokenizer in pair:
        if tokenizer is not None:
            tokenizer.model_max_length = max_length
    return pair


def _make_tokenizer(config: TrainingConfig, corpus) -> PreTrainedTokenizerBase:
    if config.tokenizer not in ("sentencepiece", "word"):
        tokenizer = load_tokenizer(config.tokenizer)
        check_vocabulary(tokenizer, config.tokenizer)
        return tokenizer
    columns = ["text"] if config.target_column is None else ["text", "target"]
    if config.encoder_name_or_path is not None:
        columns = columns[-1:]  # what is written: the encoder has a tokenizer of its own
    texts = iterate_texts(corpus["train"], columns)
    if config.tokenizer == "word":
        return train_word_tokenizer(texts)
    return train_tokenizer(texts, config.vocab_size, seed=config.seed)
