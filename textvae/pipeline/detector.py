"""Detector: the scores of usual texts that were held out, and how far texts are from usual ones; a file by the model.

N texts · n held-out texts · S scores · D dimensions
"""

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from textvae.errors import InputError
from textvae.latents.outliers import fisher, p_values
from textvae.modeling.autoencoder import TextVAEModel
from textvae.pipeline.fingerprint import is_of
from textvae.pipeline.reading import DISTANCES, SCORES, Distance

DETECTOR_FILE = "detector.safetensors"


@dataclass
class Detector:
    """What tells how unusual a text is, by one score or by several together.

    Several are combined by their p-values (Fisher 1925). A first half of the held-out texts gives these, and the
    second half calibrates what they give together, so that its p-value holds although the scores depend on each other.

    Args:
        scores: the names of the S scores.
        distances: from usual texts, by the name of their score.
        each: (n, S), the scores of the first half; of one score (0, 1).
        together: (n,), what the scores of the second half give together; of one score those of all.
        fingerprint: of the model, see [`textvae.pipeline.fingerprint`].
    """

    scores: list[str]
    distances: dict[str, Distance]
    each: Tensor
    together: Tensor
    fingerprint: Tensor

    @classmethod
    def fit(
        cls, scores: list[str], distances: dict[str, Distance], held_out: Tensor, fingerprint: Tensor
    ) -> "Detector":
        """Calibrate the scores (n, S) of held-out usual texts."""
        half = len(held_out) // 2 if len(scores) > 1 else 0
        detector = cls(scores, distances, held_out[:half], held_out[:0, 0], fingerprint)
        detector.together = detector.total(held_out[half:])
        return detector

    def total(self, scores: Tensor) -> Tensor:
        """What the scores give together, the higher the more unusual: (N, S) → (N,)."""
        return fisher(p_values(scores, self.each)) if len(self.scores) > 1 else scores[:, 0]

    def p_value(self, total: Tensor) -> Tensor:
        """(1 + the number of held-out texts at least as unusual) / (n + 1): (N,) → (N,)."""
        return p_values(total.unsqueeze(1), self.together.unsqueeze(1)).squeeze(1)

    def save(self, path: Path) -> None:
        """Write it to a safetensors file."""
        tensors = {"each": self.each, "together": self.together, "fingerprint": self.fingerprint}
        for name, distance in self.distances.items():
            tensors |= {f"{name}.{part}": tensor for part, tensor in distance.tensors().items()}
        # Two distances may share a tensor, which such a file cannot.
        tensors = {name: tensor.contiguous().clone() for name, tensor in tensors.items()}
        save_file(tensors, path, {"scores": json.dumps(self.scores)})

    @classmethod
    def load(cls, path: str | Path) -> "Detector":
        """What `save` wrote; raises InputError if the file holds anything else."""
        try:
            with safe_open(path, "pt") as file:
                scores = json.loads(file.metadata()["scores"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}
            return cls._of_tensors(scores, tensors)
        except (OSError, KeyError, TypeError, ValueError, SafetensorError) as error:
            raise InputError(f"{path} holds no detector: save the model again, or delete this file.") from error

    @classmethod
    def _of_tensors(cls, scores: list[str], tensors: dict[str, Tensor]) -> "Detector":
        each, together, print_of_model = (tensors.pop(name) for name in ("each", "together", "fingerprint"))
        if not {*scores} <= {*SCORES} or each.shape[1:] != (len(scores),) or together.dim() != 1:
            raise ValueError
        parts = {name: {} for name in scores if name in DISTANCES}
        for name, tensor in tensors.items():
            of, part = name.split(".")
            parts[of][part] = tensor
        distances = {name: DISTANCES[name](**own) for name, own in parts.items()}
        return cls(scores, distances, each, together, print_of_model)


def check_detector(detector: Detector | None, model: TextVAEModel) -> None:
    """Raises InputError if this is no detector, or that of a model with other weights."""
    if detector is None:
        return
    if not isinstance(detector, Detector):
        raise InputError(f"detector is of type {type(detector).__name__}: fit one with TextVAEPipeline.fit_detector.")
    if not is_of(detector.fingerprint, model):
        raise InputError(
            "The detector is of another model, or it was trained since: fit one anew with TextVAEPipeline.fit_detector."
        )
