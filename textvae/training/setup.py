"""Everything a run is made of."""

import logging

from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from transformers import PreTrainedTokenizerBase

from textvae.data.corpora import Texts, load_corpus
from textvae.data.coverage import count_unknown, unknown_sentence
from textvae.errors import InputError
from textvae.processes import this_process
from textvae.training.config import TrainingConfig

logger = logging.getLogger(__name__)


def read_corpus(config: TrainingConfig, texts: Texts | None = None) -> DatasetDict | IterableDatasetDict:
    return load_corpus(
        config.train_file,
        config.validation_file,
        config.dataset_name,
        config.dataset_config_name,
        texts=texts,
        text_column=config.text_column,
        target_column=config.target_column,
        label_column=config.label_column,
        validation_split=config.validation_split,
        streaming=config.streaming,
        max_train_samples=config.max_train_samples,
        max_validation_samples=config.max_validation_samples,
        seed=config.seed,
    )


def held_out_texts(dataset: Dataset | IterableDataset) -> Dataset:
    """The validation texts, in memory if they were streamed."""
    held_out = Dataset.from_list(list(dataset)) if isinstance(dataset, IterableDataset) else dataset
    if len(held_out) < 2:
        raise InputError(
            f"There are {len(held_out)} validation texts and 2 are needed: add texts, raise --validation_split, "
            "or give a --validation_file."
        )
    return held_out


def warn_of_unknown(held_out: Dataset, tokenizer: PreTrainedTokenizerBase) -> None:
    """Say how many tokens of the validation texts, as they are decoded, the tokenizer does not know, if any."""
    columns = held_out.column_names
    ids = held_out["labels" if "labels" in columns else "input_ids"][:]
    num_unknown = count_unknown(tokenizer, held_out["target" if "target" in columns else "text"], ids)
    if num_unknown and this_process().is_main_process:
        logger.warning("In the validation texts %s", unknown_sentence(tokenizer, num_unknown, sum(map(len, ids))))
