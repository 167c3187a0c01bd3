"""The tokenizers of a run: trained on its corpus, opened, or taken from a saved model."""

from pathlib import Path

from datasets import DatasetDict, IterableDatasetDict
from transformers import PreTrainedTokenizerBase

from textvae.data.corpora import iterate_texts
from textvae.data.tokenization import MAX_LENGTH, check_vocabulary, load_tokenizer, train_word_tokenizer
from textvae.data.tokenizer_pair import TokenizerPair, load_tokenizers, tokenizers_of_parts
from textvae.data.unigram import train_tokenizer
from textvae.processes import from_main
from textvae.training.config import TrainingConfig
from textvae.training.fine_tuning import extended_tokenizers

Corpus = DatasetDict | IterableDatasetDict


def prepare_tokenizers(config: TrainingConfig, corpus: Corpus, checkpoint: Path | None) -> TokenizerPair:
    """The tokenizers of the interrupted run, or new ones, which the main process makes."""
    if checkpoint is not None:
        saved = load_tokenizers(config.output_dir)
        return saved.limit(config.max_length or saved.max_length)
    return from_main(lambda: make_tokenizers(config, corpus))


def make_tokenizers(config: TrainingConfig, corpus: Corpus) -> TokenizerPair:
    """The tokenizers of a new run, with its `max_length`."""
    if config.model_name_or_path is not None:
        saved = extended_tokenizers(config, corpus["train"])
        return saved.limit(config.max_length or saved.max_length)
    if config.decoder_name_or_path is None:
        decoder = _decoder_tokenizer(config, corpus)
    else:
        decoder = config.decoder_name_or_path if config.tokenizer == "sentencepiece" else config.tokenizer
    tokenizers = tokenizers_of_parts(config.encoder_tokenizer or config.encoder_name_or_path, decoder)
    return tokenizers.limit(config.max_length or MAX_LENGTH)


def _decoder_tokenizer(config: TrainingConfig, corpus: Corpus) -> PreTrainedTokenizerBase:
    """The tokenizer of a new decoder."""
    if config.tokenizer not in ("sentencepiece", "word"):
        tokenizer = load_tokenizer(config.tokenizer)
        check_vocabulary(tokenizer, config.tokenizer)
        return tokenizer
    columns = ["text"] if config.target_column is None else ["text", "target"]
    if config.encoder_name_or_path is not None:
        columns = columns[-1:]  # only the targets: the encoder has a tokenizer of its own
    texts = iterate_texts(corpus["train"], columns)
    if config.tokenizer == "word":
        return train_word_tokenizer(texts)
    return train_tokenizer(texts, config.vocab_size, normalization=config.normalization, seed=config.seed)
