"""The measures of molecules against cases counted by hand, and against RDKit's own functions."""

import math

import pytest
import torch

from textvae.errors import InputError
from textvae.evaluation.molecules import (
    Filters,
    as_selfies,
    as_smiles,
    canonical,
    chemnet_distance,
    chemnet_states,
    fingerprints,
    internal_diversity,
    measure_molecules,
    measure_moves,
    nearest_higher,
    nearest_similarity,
    parse,
    property_of,
    similarities,
)

pytest.importorskip("rdkit", reason="needs rdkit: pip install 'textvae[molecules]'")
BENZENE, CYCLOHEXANE, ETHANOL, ASPIRIN = "c1ccccc1", "C1CCCCC1", "CCO", "CC(=O)Oc1ccccc1C(=O)O"
DRUGS = [ASPIRIN, "CC(=O)Nc1ccc(O)cc1", "CC(C)Cc1ccc(C(C)C(=O)O)cc1", "CN1C(=O)N(C)c2ncn(C)c2C1=O"]


def test_shares_are_those_counted_by_hand():
    """Of eight texts five are molecules: benzene and ethanol, each written in two ways, and aspirin."""
    texts = [BENZENE, "c1ccc", ETHANOL, "C1=CC=CC=C1", "", "OCC", "CCO benzene", ASPIRIN]
    values = measure_molecules(texts, training={ETHANOL, CYCLOHEXANE})
    assert values["valid"] == 5 / 8
    assert values["unique_1k"] == values["unique_10k"] == 3 / 5
    assert values["novel"] == 2 / 3
    assert values.keys() == {"valid", "unique_1k", "unique_10k", "novel", "diversity"}


def test_unique_is_of_the_first_ones():
    values = measure_molecules([ETHANOL] * 1000 + [BENZENE], training=set())
    assert values["unique_1k"] == 1 / 1000 and values["unique_10k"] == 2 / 1001


def test_nothing_valid_is_zero_and_nothing_at_all_is_refused():
    values = measure_molecules(["c1ccc", "(C"], set(), fingerprints(parse([ETHANOL])), Filters([]))
    assert set(values.values()) == {0.0}
    with pytest.raises(InputError, match="no molecules"):
        measure_molecules([], set())


def test_similarities_are_those_of_rdkit():
    from rdkit import DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    molecules = parse(DRUGS)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    bits = [generator.GetFingerprint(molecule) for molecule in molecules]
    theirs = torch.tensor([DataStructs.BulkTanimotoSimilarity(one, bits) for one in bits])
    assert torch.allclose(similarities(*[fingerprints(molecules)] * 2), theirs)
    assert internal_diversity(fingerprints(molecules)) == pytest.approx(1 - float(theirs.mean()))
    others = fingerprints(molecules[1:])
    assert nearest_similarity(fingerprints(molecules[:1]), others) == pytest.approx(float(theirs[0, 1:].max()))
    assert nearest_similarity(fingerprints(molecules), fingerprints(molecules)) == 1


def test_a_filter_finds_its_pattern_charges_other_atoms_and_large_rings():
    filters = Filters(["[CX3H1](=O)"])  # an aldehyde
    good, *others = parse([ETHANOL, "CC=O", "CC[O-]", "CC[Si]", "C1CCCCCCC1", "C1CCCCCC1"])
    assert filters.passes(good)
    assert [filters.passes(molecule) for molecule in others] == [False, False, False, False, True]


def test_selfies_come_back_whatever_is_written_in_them():
    pytest.importorskip("selfies", reason="needs selfies: pip install 'textvae[molecules]'")
    texts = as_selfies(DRUGS)
    assert texts[0].split()[:2] == ["[C]", "[C]"]
    assert canonical(parse(as_smiles(texts))) == canonical(parse(DRUGS))
    symbols = sorted({symbol for text in texts for symbol in text.split()})
    assert None not in parse(as_smiles([" ".join(symbols), " ".join(symbols[::-1])]))
    assert as_smiles(DRUGS) == DRUGS and as_smiles(["[NH4+]", "[Na]"]) == ["[NH4+]", "[Na]"]


def test_properties_and_moves():
    logp, sources = property_of("logp"), parse([BENZENE, ETHANOL, ASPIRIN])
    assert logp(sources[0]) == pytest.approx(1.69, abs=0.01)
    still = measure_moves(sources, [BENZENE, ETHANOL, ASPIRIN], logp)
    assert still == {"valid": 1, "change": 0, "higher": 0, "similarity": 1}
    moved = measure_moves(sources, ["Cc1ccccc1", "no molecule", ASPIRIN], logp)
    assert moved["valid"] == 2 / 3 and moved["higher"] == 1 / 2 and 0 < moved["similarity"] < 1
    assert moved["change"] == pytest.approx((logp(parse(["Cc1ccccc1"])[0]) - logp(sources[0])) / 2)
    assert measure_moves(sources, ["(", "(", "("], logp)["similarity"] == 0
    with pytest.raises(InputError, match="logp, qed"):
        property_of("weight")


def test_the_nearest_one_that_is_higher_enough():
    logp, known = property_of("logp"), parse(["CCO", "CCCO", "CCCCCCO", "c1ccccc1"])
    values = [logp(molecule) for molecule in known]
    near = nearest_higher(known[:1], known, logp, values[1] - values[0] - 1e-3)
    far = nearest_higher(known[:1], known, logp, values[2] - values[0] - 1e-3)
    assert canonical(near) == ["CCCO"] and canonical(far) == ["CCCCCCO"]
    assert logp(nearest_higher(known[:1], known, logp, 99.0)[0]) == max(values), "as high as there is"


def test_the_distance_in_chemnet_is_none_to_itself():
    pytest.importorskip("fcd_torch", reason="needs fcd-torch: pip install 'textvae[molecules]'")
    states = chemnet_states(DRUGS)
    moments = states.mean(0), torch.from_numpy(states).T.cov().numpy()
    assert chemnet_distance(DRUGS, *moments) == pytest.approx(0, abs=1e-2)
    assert chemnet_distance([ETHANOL, BENZENE, CYCLOHEXANE, "CC"], *moments) > 1
    assert math.isnan(chemnet_distance([ETHANOL], *moments))
