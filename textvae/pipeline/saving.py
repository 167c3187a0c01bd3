"""A model, its tokenizers and what was fitted to texts, written to one directory, whole or not at all."""

from pathlib import Path
from typing import cast

from textvae.data.tokenizer_pair import ENCODER_TOKENIZER, TokenizerPair, save_tokenizers
from textvae.files import check_directory, whole_files
from textvae.modeling.adapters import merged
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.base_weights import check_apart
from textvae.modeling.weight_files import weight_patterns
from textvae.pipeline.fitted import FITTED_FILES, Fitted

# What other models and tokenizers leave, and transformers would open instead.
_OF_OTHERS = (
    *("pytorch_model*.bin*", "adapter_config.json", "adapter_model.*"),
    *("tokenizer.model", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
)


def save(model: TextVAEModel, tokenizers: TokenizerPair, path: str | Path, fitted: Fitted) -> None:
    """Write all of them; what was in the directory is replaced when all is written.

    Raises:
        InputError: if `path` is a file or the directory of a base model, or what was fitted is of another model.
        OSError: if the directory cannot be written; then it is as it was.
    """
    check_apart(model.config.base, path)
    fitted.check(model)
    with whole_files(path, instead_of=[*weight_patterns(), *FITTED_FILES, ENCODER_TOKENIZER, *_OF_OTHERS]) as place:
        model.save_pretrained(place)
        save_tokenizers(place, tokenizers)
        fitted.save(place)


def save_merged(model: TextVAEModel, tokenizers: TokenizerPair, path: str | Path, fitted: Fitted) -> None:
    """Write all of them, with all weights in fp32 and adapters merged.

    Raises:
        InputError: as `save`, or if a part is quantized.
        OSError: as `save`.
    """
    check_directory(Path(path))
    check_apart(model.config.base, path)  # the base model is opened anew where it is
    save(cast(TextVAEModel, merged(model)), tokenizers, path, fitted)
