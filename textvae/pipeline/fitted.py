"""Fitted: what was fitted to texts for a model and is kept beside it, each in a file of its own."""

from pathlib import Path
from typing import Any, NamedTuple

from textvae.errors import InputError
from textvae.latents.directions import Directions
from textvae.latents.priors import Prior
from textvae.modeling.autoencoder import TextVAEModel
from textvae.modeling.compat import hub_file
from textvae.modeling.weight_files import add_checksum, check_checksums
from textvae.pipeline.detector import DETECTOR_FILE, Detector, check_detector
from textvae.pipeline.directions import DIRECTIONS_FILE, check_directions
from textvae.pipeline.priors import KINDS, PRIOR_FILES, check_priors

FITTED_FILES = (*PRIOR_FILES.values(), DIRECTIONS_FILE, DETECTOR_FILE)


class Fitted(NamedTuple):
    """The priors of `sample` by name, the directions of `edit`, and the detector; None for what there is not."""

    priors: dict[str, Prior]
    directions: Directions | None = None
    detector: Detector | None = None

    @classmethod
    def load(cls, name: str) -> "Fitted":
        """Those of a directory or of a model on the Hub; raises InputError if a file is damaged."""
        priors = {kind: _open(name, PRIOR_FILES[kind], KINDS[kind]) for kind in KINDS}
        priors = {kind: prior for kind, prior in priors.items() if prior is not None}
        return cls(priors, _open(name, DIRECTIONS_FILE, Directions), _open(name, DETECTOR_FILE, Detector))

    def check(self, model: TextVAEModel) -> None:
        """Raises InputError if one of them is something else, or of another model."""
        check_priors(self.priors, model)
        check_directions(self.directions, model)
        check_detector(self.detector, model)

    def save(self, place: Path) -> None:
        """Write a file with a checksum for each."""
        files = {PRIOR_FILES[name]: prior for name, prior in self.priors.items()}
        for file, fitted in {**files, DIRECTIONS_FILE: self.directions, DETECTOR_FILE: self.detector}.items():
            if fitted is not None:
                fitted.save(place / file)
                add_checksum(place / file)


def _open(name: str, file: str, kind: type) -> Any:
    path = hub_file(name, file)
    if path is None:
        return None
    try:
        opened = kind.load(path)
        check_checksums(name, [path])
    except InputError as error:
        raise InputError(
            f"{path} is corrupt: copy it again, or delete it and fit anew; the model opens without."
        ) from error
    return opened
