"""What single dimensions of z say of known factors of the texts: MIG, DCI and SAP, by scikit-learn.

N texts to learn from · M to be told · Z latent_size · F factors

The definitions are those of disentanglement_lib (Locatello et al. 2019) for discrete factors, so values can be compared
with published ones. All are higher for a z whose dimensions each stand for one factor, and none depends on the order
or the scale of the dimensions.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from textvae.errors import InputError, require_scikit_learn
from textvae.evaluation.probes import linear_probe

BINS = 20
SVM_C = 0.01  # of disentanglement_lib
Factors = Mapping[str, Sequence]  # the value of each text, by the name of the factor

TITLES = {
    "mig": "MIG",
    "dci_disentanglement": "DCI: disentanglement",
    "dci_completeness": "completeness",
    "dci_informativeness": "informativeness",
    "sap": "SAP",
}


def measure_factors(
    codes: np.ndarray, factors: Factors, test_codes: np.ndarray, test_factors: Factors, seed: int = 0
) -> dict[str, float]:
    """The accuracy of a linear probe for each factor, by its name, and the values that `TITLES` names.

    Args:
        codes, test_codes: (N, Z) and (M, Z); the posterior means, say.
        seed: of the trees of DCI and of the SVMs of SAP.

    Raises:
        InputError: without scikit-learn, for fewer than two dimensions or two factors, or a factor with one value.
    """
    require_scikit_learn("A measure of factors")
    _check(codes, factors)
    found = {name: linear_probe(codes, values, test_codes, test_factors[name]) for name, values in factors.items()}
    importance, informativeness = importances(codes, factors, test_codes, test_factors, seed)
    return found | {
        "mig": mutual_information_gap(codes, factors),
        "dci_disentanglement": disentanglement(importance),
        "dci_completeness": completeness(importance),
        "dci_informativeness": informativeness,
        "sap": separated_predictability(codes, factors, test_codes, test_factors, seed),
    }


def _check(codes: np.ndarray, factors: Factors) -> None:
    if codes.shape[1] < 2 or len(factors) < 2:
        raise InputError("MIG, DCI and SAP compare dimensions and factors: give two of each, or more.")
    for name, values in factors.items():
        if len(set(values)) < 2:
            raise InputError(f"The factor {name!r} has the same value in all texts: leave it out.")


def mutual_information_gap(codes: np.ndarray, factors: Factors) -> float:
    """MIG: how much more the best dimension says of a factor than the second best (Chen et al. 2018, eq. 6).

    The difference of what the two say, in nats, as a share of the factor's entropy, averaged over the factors: from 0
    to 1. Each dimension is cut into 20 bins of equal width between its extremes.
    """
    from sklearn.metrics import mutual_info_score

    binned = [np.digitize(code, np.histogram_bin_edges(code, BINS)[:-1]) for code in codes.T]
    gaps = []
    for values in factors.values():
        information = [mutual_info_score(values, code) for code in binned]  # in nats
        gaps.append(_gap(np.array(information)) / mutual_info_score(values, values))
    return float(np.mean(gaps))


def separated_predictability(
    codes: np.ndarray, factors: Factors, test_codes: np.ndarray, test_factors: Factors, seed: int = 0
) -> float:
    """SAP: how much better the best dimension tells a factor than the second best (Kumar et al. 2018, section 3).

    The difference of the two shares of test texts that a linear SVM tells from one dimension alone, averaged over the
    factors; for a factor of k equally frequent values hardly more than 1 − 1/k. Each dimension is standardized first,
    which disentanglement_lib leaves out: without it the result would depend on the scale of z.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    gaps = []
    for name, values in factors.items():
        shares = []
        for dimension in range(codes.shape[1]):
            own = slice(dimension, dimension + 1)
            svm = make_pipeline(StandardScaler(), LinearSVC(C=SVM_C, class_weight="balanced", random_state=seed))
            shares.append(svm.fit(codes[:, own], values).score(test_codes[:, own], test_factors[name]))
        gaps.append(_gap(np.array(shares)))
    return float(np.mean(gaps))


def _gap(values: np.ndarray) -> float:
    """The largest value less the second largest."""
    second, first = np.sort(values)[-2:]
    return float(first - second)


def importances(
    codes: np.ndarray, factors: Factors, test_codes: np.ndarray, test_factors: Factors, seed: int = 0
) -> tuple[np.ndarray, float]:
    """How much each dimension counts when gradient-boosted trees tell each factor, and how well they tell it.

    The trees are those of scikit-learn's `GradientBoostingClassifier` with its defaults, one model for each factor.

    Returns:
        the importances (Z, F), each column a distribution, and the share of test texts whose factor is told, averaged
        over the factors: the informativeness of DCI.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    columns, shares = [], []
    for name, values in factors.items():
        trees = GradientBoostingClassifier(random_state=seed).fit(codes, values)
        columns.append(trees.feature_importances_)
        shares.append(trees.score(test_codes, test_factors[name]))
    return np.stack(columns, 1), float(np.mean(shares))


def disentanglement(importance: np.ndarray) -> float:
    """DCI's disentanglement: whether each dimension counts for one factor only (Eastwood & Williams 2018, section 2).

    1 − the entropy of each row to the base F, averaged over the rows by how much they count: from 0 to 1.

    Args:
        importance: (Z, F), not negative.
    """
    total = importance.sum()
    return float(importance.sum(1) @ _certainty(importance) / total) if total else 0.0


def completeness(importance: np.ndarray) -> float:
    """DCI's completeness: whether each factor is told by one dimension only; `disentanglement` of the transpose."""
    return disentanglement(importance.T)


def _certainty(weights: np.ndarray) -> np.ndarray:
    """1 − the entropy of each row, normalized to a distribution, to the base of its length: (rows,)."""
    shares = weights / np.maximum(weights.sum(1, keepdims=True), np.finfo(float).tiny)
    terms = np.where(shares > 0, shares * np.log(np.maximum(shares, np.finfo(float).tiny)), 0.0)
    return 1 + terms.sum(1) / np.log(weights.shape[1])
