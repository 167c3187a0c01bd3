"""The directions that a pipeline edits texts along: fitted to the z of two classes of texts, kept beside the model.

N texts · Z latent_size
"""

from typing import cast

import torch
from datasets import Dataset
from torch import Tensor

from textvae.config_fields import nearest
from textvae.data.given import Table, columns_of, dataset_of, is_table
from textvae.data.labels import name_labels
from textvae.data.text_columns import plain
from textvae.errors import InputError
from textvae.latents.directions import Directions, check_classes, check_method, check_name
from textvae.modeling.autoencoder import TextVAEModel
from textvae.pipeline.codec import Codec
from textvae.pipeline.inputs import Label, Texts, as_list, as_many

DIRECTIONS_FILE = "directions.safetensors"
_COLUMNS = {"text": "text", "label": "label"}


def fit_direction(
    codec: Codec,
    directions: Directions | None,
    name: str,
    positive: Texts | Table | Dataset,
    negative: Texts | None,
    method: str,
    label: Label,
) -> Directions:
    """The directions with the one of this name, fitted to texts of two classes.

    Raises:
        InputError: if the model has no z, the directions are of another one, or an argument cannot be used.
    """
    check_name(name)
    check_method(method)
    check_directions(directions, codec.model)
    codec.check_has_z("has no directions to fit.")
    texts, is_positive = _two_classes(name, positive, negative)
    check_classes(is_positive, codec.model.config.latent_size)
    read = codec.tokenize(texts, codec.label_ids(label, len(texts)))
    means = codec.means(read)
    lengths = torch.tensor([len(ids) for ids in read.input_ids])
    own = directions or Directions(latent_space(codec.model))
    return own.fit(name, means, is_positive, lengths, method)


def check_directions(directions: Directions | None, model: TextVAEModel) -> None:
    """Raises InputError if these are no directions, or those of another model."""
    if directions is None:
        return
    if not isinstance(directions, Directions):
        raise InputError(f"directions is of type {type(directions).__name__}: give Directions, or leave it out.")
    if not directions.belong_to(latent_space(model)):
        raise InputError(
            f"The directions ({', '.join(directions.steps)}) are of another model, or it was trained since: fit them "
            f"anew with TextVAEPipeline.fit_direction, and delete {DIRECTIONS_FILE} if they were saved."
        )


def latent_space(model: TextVAEModel) -> Tensor:
    """Numbers (Z,) by which a model is known: the norms of the weights that give each dimension of z."""
    if model.posterior is None:
        return torch.zeros(model.config.latent_size)
    return model.posterior.to_mean.weight.detach().float().norm(dim=1).cpu()


def _two_classes(name: str, positive: Texts | Table | Dataset, negative: Texts | None) -> tuple[list[str], Tensor]:
    """The texts of both classes, and which of them are positive (N,)."""
    if negative is None:
        return _of_table(name, positive)
    ones, others = (as_many(cast(Texts, texts)) for texts in (positive, negative))
    return ones + others, torch.arange(len(ones) + len(others)) < len(ones)


def _of_table(name: str, table: Texts | Table | Dataset) -> tuple[list[str], Tensor]:
    """The column `text` of a table, and where its column `label` has the name of the direction (N,)."""
    if not (isinstance(table, Dataset) or is_table(table)):
        raise InputError("negative is missing: give the texts of both classes, or a table with columns text and label.")
    there = table.column_names if isinstance(table, Dataset) else columns_of(cast(Table, table), "The table")
    if missing := [column for column in _COLUMNS if column not in there]:
        raise InputError(f"The table has no column {missing[0]!r} but {', '.join(map(str, there))}: rename one.")
    data = plain(table) if isinstance(table, Dataset) else dataset_of(cast(Table, table), _COLUMNS, "The table")
    data = cast(Dataset, data)
    labels = name_labels(data["label"][:], data.features["label"])
    if labels and name not in labels:
        meant = nearest(name, {str(label) for label in labels})
        raise InputError(
            f"The column 'label' has no {name!r}; did you mean {meant!r}? A direction that is fitted to a table has "
            "the name of the positive label."
        )
    return as_list(data["text"][:])[0], torch.tensor([label == name for label in labels], dtype=torch.bool)
