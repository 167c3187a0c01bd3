"""Fitted: what was fitted to texts for a model and is kept beside it, each in a file of its own."""

from pathlib import Path
from typing import Any, NamedTuple

from textvae.latents.directions import Directions
from textvae.latents.priors import GaussianPrior
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.compat import hub_file
from textvae.modeling.weight_files import add_checksum, check_checksums
from textvae.pipeline.detector import DETECTOR_FILE, Detector, check_detector
from textvae.pipeline.directions import DIRECTIONS_FILE, check_directions
from textvae.pipeline.priors import PRIOR_FILE, check_prior

FITTED_FILES = (PRIOR_FILE, DIRECTIONS_FILE, DETECTOR_FILE)
_KINDS = (GaussianPrior, Directions, Detector)


class Fitted(NamedTuple):
    """The prior that `sample` draws from, the directions of `edit`, and the detector; None for what there is not."""

    prior: GaussianPrior | None = None
    directions: Directions | None = None
    detector: Detector | None = None

    @classmethod
    def load(cls, name: str) -> "Fitted":
        """Those of a directory or of a model on the Hub; raises InputError if a file is damaged."""
        return cls(*(_open(name, file, kind) for file, kind in zip(FITTED_FILES, _KINDS, strict=True)))

    def check(self, model: TextVAEModel) -> None:
        """Raises InputError if one of them is something else, or of another model."""
        check_prior(self.prior, model)
        check_directions(self.directions, model)
        check_detector(self.detector, model)

    def save(self, place: Path) -> None:
        """Write a file with a checksum for each."""
        for fitted, file in zip(self, FITTED_FILES, strict=True):
            if fitted is not None:
                fitted.save(place / file)
                add_checksum(place / file)


def _open(name: str, file: str, kind: type) -> Any:
    path = hub_file(name, file)
    if path is None:
        return None
    opened = kind.load(path)
    check_checksums(name, [path])
    return opened
