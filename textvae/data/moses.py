"""MOSES: molecules as SMILES, from the package molsets, whose files are read and whose code is never imported."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pandas

from textvae.errors import InputError

SPLITS = ("train", "test", "test_scaffolds")


def load_moses(split: str) -> list[str]:
    """The SMILES of a split of MOSES (Polykovskiy et al. 2020), in its order: 1,584,663 / 176,074 / 176,225 molecules.

    Raises:
        InputError: if there is no such split, or molsets is not installed.
    """
    if split not in SPLITS:
        raise InputError(f"split is {split!r}, it must be one of {', '.join(SPLITS)}.")
    return pandas.read_csv(_path(f"moses/dataset/data/{split}.csv.gz"))["SMILES"].tolist()


def load_moses_filters() -> list[str]:
    """The SMARTS patterns of which a molecule of MOSES has none: medicinal chemistry filters, and PAINS."""
    chemistry = pandas.read_csv(_path("moses/metrics/mcf.csv"))["smarts"]
    return [*chemistry, *pandas.read_csv(_path("moses/metrics/wehi_pains.csv"), names=["smarts", "name"])["smarts"]]


def load_moses_chemnet() -> tuple[np.ndarray, np.ndarray]:
    """Mean (H,) and covariance (H, H) of the states of ChemNet, of all molecules of `test`, as MOSES computed them."""
    with np.load(_path("moses/dataset/data/test_stats.npz"), allow_pickle=True) as file:  # as trusted as the package
        states = file["stats"].item()["FCD"]
    return states["mu"], states["sigma"]


def _path(name: str) -> Path:
    try:
        return Path(str(metadata.distribution("molsets").locate_file(name)))
    except metadata.PackageNotFoundError as error:
        raise InputError(
            "MOSES is not installed: pip install --no-deps molsets==0.3.1, whose dependencies are not needed."
        ) from error
