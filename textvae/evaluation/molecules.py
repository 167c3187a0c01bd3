"""What a set of written molecules is judged by, in the terms of MOSES (Polykovskiy et al. 2020), computed by RDKit.

N molecules · F bits of a fingerprint · H size of a state of ChemNet
"""

import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import Tensor

from textvae.errors import InputError, require_extra, shown

if TYPE_CHECKING:
    from rdkit.Chem import Mol

FINGERPRINT_BITS = 1024
ALLOWED_ATOMS = {"C", "N", "S", "O", "F", "Cl", "Br", "H"}  # of MOSES
LARGEST_RING = 7  # of MOSES


_SELFIES = re.compile(r"\[[^\]\s]+\](?: \[[^\]\s]+\])+")  # symbols with a space between; no SMILES has one


def require(package: str, what: str) -> None:
    """Raises InputError without this package of the extra `molecules`."""
    require_extra(package.replace("-", "_"), package, "molecules", what)


def as_selfies(smiles: Sequence[str]) -> list[str]:
    """Each SMILES as SELFIES (Krenn et al. 2020), with a space between the symbols, so that each is a word.

    Raises:
        InputError: without the package selfies.
    """
    require("selfies", "A text in SELFIES")
    import selfies

    return [" ".join(selfies.split_selfies(selfies.encoder(text))) for text in smiles]


def as_smiles(texts: Sequence[str]) -> list[str]:
    """The texts, those that `as_selfies` or a model of its texts has written as SMILES."""
    if not any(map(_SELFIES.fullmatch, texts)):
        return list(texts)
    require("selfies", "A text in SELFIES")
    import selfies

    return [str(selfies.decoder(text.replace(" ", ""))) if _SELFIES.fullmatch(text) else text for text in texts]


def parse(texts: Sequence[str]) -> "list[Mol | None]":
    """The molecule of each SMILES; None for what is none.

    A text with a space is none: RDKit would take what stands behind it for a name.
    """
    require("rdkit", "A molecule")
    from rdkit import Chem, rdBase

    with rdBase.BlockLogs():  # which would explain every mistake on standard error
        return [Chem.MolFromSmiles(text) if text and not any(map(str.isspace, text)) else None for text in texts]


def parse_all(texts: Sequence[str]) -> "list[Mol]":
    """The molecule of each SMILES; raises InputError if a text is none."""
    molecules = parse(texts)
    for text, molecule in zip(texts, molecules, strict=True):
        if molecule is None:
            raise InputError(f"{shown(text)} is no molecule: give SMILES, one a line.")
    return cast("list[Mol]", molecules)


def canonical(molecules: "Sequence[Mol]") -> list[str]:
    """The one SMILES by which RDKit writes each molecule, in whatever way it was written before."""
    from rdkit import Chem

    return [Chem.MolToSmiles(molecule) for molecule in molecules]


def fingerprints(molecules: "Sequence[Mol]") -> Tensor:
    """Morgan fingerprints of radius 2 (Rogers & Hahn 2010), (N, F) of 0 and 1."""
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=FINGERPRINT_BITS)
    bits = [generator.GetFingerprintAsNumPy(molecule) for molecule in molecules]
    return torch.from_numpy(np.stack(bits)) if bits else torch.zeros(0, FINGERPRINT_BITS, dtype=torch.uint8)


def similarities(bits: Tensor, others: Tensor) -> Tensor:
    """Tanimoto similarity of each two fingerprints (N, F) and (M, F): (N, M), shared bits / bits of either."""
    bits, others = bits.float(), others.float()
    shared = bits @ others.T
    return shared / (bits.sum(1, keepdim=True) + others.sum(1) - shared).clamp(min=1)


def internal_diversity(bits: Tensor) -> float:
    """1 − the mean similarity of all pairs of fingerprints (N, F), each with itself too (IntDiv of MOSES)."""
    return 1 - float(torch.cat([similarities(part, bits).mean(1) for part in bits.split(1000)]).mean())


def nearest_similarity(bits: Tensor, others: Tensor) -> float:
    """The mean similarity of each fingerprint (N, F) to the most similar of the others (M, F) (SNN of MOSES).

    The more others there are, the higher it is: compare values of the same others only.
    """
    nearest = [
        torch.stack([similarities(part, some).amax(1) for some in others.split(20_000)]).amax(0)
        for part in bits.split(1000)
    ]
    return float(torch.cat(nearest).mean())


class Filters:
    """The filters of MOSES: only its atoms, no charge, no ring above 7 atoms, and none of these SMARTS patterns."""

    def __init__(self, patterns: Sequence[str]):
        require("rdkit", "A filter")
        from rdkit import Chem

        self.patterns = [Chem.MolFromSmarts(pattern) for pattern in patterns]

    def passes(self, molecule: "Mol") -> bool:
        from rdkit import Chem

        atoms = list(molecule.GetAtoms())
        if any(atom.GetFormalCharge() or atom.GetSymbol() not in ALLOWED_ATOMS for atom in atoms):
            return False
        if any(len(ring) > LARGEST_RING for ring in molecule.GetRingInfo().AtomRings()):
            return False
        whole = Chem.AddHs(molecule)
        return not any(whole.HasSubstructMatch(pattern) for pattern in self.patterns)


def chemnet_states(smiles: Sequence[str]) -> np.ndarray:
    """The states (N, H) of ChemNet, a network that has learnt biological activities (Mayr et al. 2018).

    Raises:
        InputError: without fcd-torch, which brings the weights.
    """
    require("fcd-torch", "ChemNet")
    from fcd_torch import FCD

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a name in NumPy
        return FCD().get_predictions(smiles)


def chemnet_distance(smiles: Sequence[str], mean: np.ndarray, covariance: np.ndarray) -> float:
    """Fréchet ChemNet distance (FCD; Preuer et al. 2018) from molecules with this mean (H,) and covariance (H, H).

    |m − m'|² + tr(C + C' − 2 (C C')^½), of the Gaussians with the moments of both sets. The fewer molecules, the higher
    it is: MOSES takes 30,000 texts. It is NaN for fewer than two.
    """
    if len(smiles) < 2:
        return float("nan")
    states = chemnet_states(smiles)
    own_mean, own = states.mean(0), np.cov(states.T)
    # The trace of a root is the sum of the roots of the eigenvalues, which are real here but for rounding.
    root = np.sqrt(np.linalg.eigvals(own @ covariance).real.clip(0)).sum()
    return float(((own_mean - mean) ** 2).sum() + np.trace(own) + np.trace(covariance) - 2 * root)


def measure_molecules(
    texts: Sequence[str],
    training: set[str],
    reference: Tensor | None = None,
    filters: Filters | None = None,
) -> dict[str, float]:
    """How good a sample of molecules is.

    Args:
        texts: SMILES as they were written; N of them.
        training: canonical SMILES of the molecules that are not new.
        reference: fingerprints (M, F) of real molecules, that `nearest` is the similarity to.

    Returns:
        `valid`: share of texts that RDKit reads. The others are of these texts: `unique_1k` and `unique_10k`, the share
        of different molecules among the first 1,000 and 10,000, or among fewer if there are fewer; `novel`, share of
        the different molecules that are not in `training`; `diversity`, see [`internal_diversity`]; with `reference`
        `nearest`, see [`nearest_similarity`]; with `filters` `filters`, the share that passes. A share of nothing is 0.

    Raises:
        InputError: without RDKit, or without any text.
    """
    if not texts:
        raise InputError("There are no molecules to measure: give some.")
    molecules = [molecule for molecule in parse(texts) if molecule is not None]
    written, bits = canonical(molecules), fingerprints(molecules)
    different = {*written}
    values = {
        "valid": len(molecules) / len(texts),
        "unique_1k": _share(len({*written[:1000]}), len(written[:1000])),
        "unique_10k": _share(len({*written[:10_000]}), len(written[:10_000])),
        "novel": _share(len(different - training), len(different)),
        "diversity": internal_diversity(bits) if molecules else 0.0,
    }
    if reference is not None:
        values["nearest"] = nearest_similarity(bits, reference) if molecules else 0.0
    if filters is not None:
        values["filters"] = _share(sum(map(filters.passes, molecules)), len(molecules))
    return values


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def property_of(name: str) -> "Callable[[Mol], float]":
    """The function that gives `logp` (Wildman & Crippen 1999) or `qed` (drug-likeness, Bickerton et al. 2012).

    Raises:
        InputError: without RDKit, or for another name.
    """
    require("rdkit", "A property")
    from rdkit.Chem import QED, Crippen

    known = {"logp": Crippen.MolLogP, "qed": QED.qed}  # pyright: ignore[reportAttributeAccessIssue]
    if name not in known:
        raise InputError(f"The property is {name!r}, it must be one of {', '.join(known)}.")
    return known[name]


def measure_moves(sources: "Sequence[Mol]", texts: Sequence[str], value: "Callable[[Mol], float]") -> dict[str, float]:
    """What is left of molecules whose z was moved to raise a property.

    Args:
        texts: SMILES, N of them, each written for the source in its place.

    Returns:
        `valid`: share of texts that RDKit reads. Of these: `change`, the mean of value(text) − value(source); `higher`,
        the share with a higher value; `similarity` to the source, see [`similarities`]. A mean of nothing is 0.
    """
    pairs = [(a, b) for a, b in zip(sources, parse(texts), strict=True) if b is not None]
    changes = [value(b) - value(a) for a, b in pairs]
    near = [float(similarities(*map(fingerprints, ([a], [b])))) for a, b in pairs]
    return {
        "valid": _share(len(pairs), len(texts)),
        "change": sum(changes) / max(1, len(pairs)),
        "higher": _share(sum(change > 0 for change in changes), len(pairs)),
        "similarity": sum(near) / max(1, len(pairs)),
    }


def nearest_higher(sources: "list[Mol]", known: "list[Mol]", value: "Callable[[Mol], float]", by: float) -> "list[Mol]":
    """For each source the most similar known molecule whose value is higher by so much, or the highest if none is."""
    values = torch.tensor([value(molecule) for molecule in known])
    least = torch.tensor([value(molecule) for molecule in sources]) + by
    nearness = similarities(fingerprints(sources), fingerprints(known))  # (N, M)
    nearness = torch.where(values >= least[:, None].clamp(max=values.max()), nearness, -1.0)
    return [known[int(place)] for place in nearness.argmax(1)]
