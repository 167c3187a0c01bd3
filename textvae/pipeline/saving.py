"""A model, its tokenizers and what was fitted to texts, written to one directory, whole or not at all."""

from pathlib import Path
from typing import cast

from textvae.data.tokenizer_pair import ENCODER_TOKENIZER, TokenizerPair, save_tokenizers
from textvae.files import check_directory, whole_files
from textvae.latents.directions import Directions
from textvae.latents.priors import GaussianPrior
from textvae.modeling.adapters import merged
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.base_weights import check_apart
from textvae.modeling.weight_files import add_checksum, weight_patterns
from textvae.pipeline.detector import DETECTOR_FILE, Detector
from textvae.pipeline.directions import DIRECTIONS_FILE, check_directions
from textvae.pipeline.priors import PRIOR_FILE

FITTED_FILES = (PRIOR_FILE, DIRECTIONS_FILE, DETECTOR_FILE)
# What other models and tokenizers leave, and transformers would open instead.
_OF_OTHERS = (
    *("pytorch_model*.bin*", "adapter_config.json", "adapter_model.*"),
    *("tokenizer.model", "vocab.*", "merges.txt", "special_tokens_map.json", "added_tokens.json"),
)


def save(
    model: TextVAEModel,
    tokenizers: TokenizerPair,
    path: str | Path,
    prior: GaussianPrior | None = None,
    directions: Directions | None = None,
    detector: Detector | None = None,
) -> None:
    """Write all of them; what was in the directory is replaced when all is written.

    Raises:
        InputError: if `path` is a file or the directory of a base model, or the directions are of another model.
        OSError: if the directory cannot be written; then it is as it was.
    """
    check_apart(model.config.base, path)
    check_directions(directions, model)
    with whole_files(path, instead_of=[*weight_patterns(), *FITTED_FILES, ENCODER_TOKENIZER, *_OF_OTHERS]) as place:
        model.save_pretrained(place)
        save_tokenizers(place, tokenizers)
        for fitted, name in zip((prior, directions, detector), FITTED_FILES, strict=True):
            if fitted is not None:
                fitted.save(place / name)
                add_checksum(place / name)


def save_merged(
    model: TextVAEModel,
    tokenizers: TokenizerPair,
    path: str | Path,
    prior: GaussianPrior | None = None,
    directions: Directions | None = None,
    detector: Detector | None = None,
) -> None:
    """Write all of them, with all weights in fp32 and adapters merged.

    Raises:
        InputError: as `save`, or if a part is quantized.
        OSError: as `save`.
    """
    check_directory(Path(path))
    check_apart(model.config.base, path)  # the base model is opened anew where it is
    save(cast(TextVAEModel, merged(model)), tokenizers, path, prior, directions, detector)
