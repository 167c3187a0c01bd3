"""Maps: the plane of most variance, the same for the same points whenever they are placed, saved, and refused."""

import numpy as np
import pytest
import torch

from textvae import InputError
from textvae.latents import PCAMap, UMAPMap

N, Z = 60, 5
GENERATOR = torch.Generator().manual_seed(0)
POINTS = torch.randn(N, Z, generator=GENERATOR) * torch.tensor([0.3, 4.0, 0.1, 2.0, 0.5]) + 7
OTHERS = 9 * torch.randn(11, Z, generator=GENERATOR)


def test_it_is_the_plane_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    expected = decomposition.PCA(2).fit(POINTS.double().numpy())
    own = PCAMap.fit(POINTS)
    torch.testing.assert_close(own.share, torch.from_numpy(expected.explained_variance_ratio_).float())
    for points in (POINTS, OTHERS):
        np.testing.assert_allclose(
            own.transform(points).abs(), np.abs(expected.transform(points.double().numpy())), atol=1e-4
        )


def test_no_distance_grows_and_in_a_plane_none_shrinks():
    own = PCAMap.fit(POINTS)
    assert (torch.pdist(own.transform(POINTS)) <= torch.pdist(POINTS) + 1e-5).all()
    flat = POINTS[:, :2] @ torch.randn(2, Z, generator=GENERATOR)
    torch.testing.assert_close(torch.pdist(PCAMap.fit(flat).transform(flat)), torch.pdist(flat), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(PCAMap.fit(flat).share.sum(), torch.tensor(1.0))


def test_a_point_has_its_place_in_any_company_and_order_of_those_before():
    own = PCAMap.fit(POINTS)
    torch.testing.assert_close(own.transform(POINTS[7:9]), own.transform(POINTS)[7:9])
    shuffled = PCAMap.fit(POINTS.flip(0))
    torch.testing.assert_close(shuffled.transform(POINTS), own.transform(POINTS), rtol=1e-4, atol=1e-5)


def test_it_is_saved_whole(tmp_path):
    own = PCAMap.fit(POINTS)
    own.save(tmp_path / "map.safetensors")
    opened = PCAMap.load(tmp_path / "map.safetensors")
    torch.testing.assert_close(opened.transform(OTHERS), own.transform(OTHERS), rtol=0, atol=0)
    torch.testing.assert_close(opened.share, own.share, rtol=0, atol=0)


def test_two_points_equal_ones_and_one_dimension_have_a_map():
    two = PCAMap.fit(POINTS[:2])
    torch.testing.assert_close(two.share, torch.tensor([1.0, 0.0]), atol=1e-6, rtol=0)
    assert torch.equal(PCAMap.fit(POINTS[:1].repeat(3, 1)).transform(POINTS[:1]), torch.zeros(1, 2))
    line = PCAMap.fit(POINTS[:, :1]).transform(POINTS[:, :1])
    torch.testing.assert_close(line[:, 0].abs(), (POINTS[:, 0] - POINTS[:, 0].mean()).abs())
    assert (line[:, 1] == 0).all()


@pytest.mark.parametrize(
    ("points", "told"),
    [
        (POINTS[:1], "needs 2 texts, and there are 1"),
        (POINTS[:0], "there are 0"),
        (POINTS[0], r"must be \(N, Z\), not \(5,\)"),
        (torch.full((3, Z), torch.nan), "not finite"),
    ],
)
def test_what_has_no_map_is_refused(points, told):
    with pytest.raises(InputError, match=told):
        PCAMap.fit(points)


def test_what_has_no_place_is_refused(tmp_path):
    own = PCAMap.fit(POINTS)
    with pytest.raises(InputError, match=r"must be \(N, 5\), not \(60, 4\)"):
        own.transform(POINTS[:, :4])
    with pytest.raises(InputError, match="not finite"):
        own.transform(POINTS.log())
    (tmp_path / "damaged").write_bytes(b"nothing")
    for name in ("damaged", "absent"):
        with pytest.raises(InputError, match="holds no such map"):
            PCAMap.load(tmp_path / name)


@pytest.fixture(scope="module")
def laid_out():
    """A map of UMAP's kind whose layout is the first two dimensions: no test here waits for UMAP to compile itself."""
    return UMAPMap(POINTS, POINTS[:, :2])


def test_a_point_of_the_layout_has_its_place_and_another_one_is_among_its_neighbours(laid_out):
    torch.testing.assert_close(laid_out.transform(POINTS), laid_out.places, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(laid_out.transform(OTHERS[:1]), laid_out.transform(OTHERS)[:1])
    near = torch.cdist(OTHERS, POINTS).topk(5, largest=False)
    weights = (1 / near.values).unsqueeze(-1)
    expected = (weights * laid_out.places[near.indices]).sum(1) / weights.sum(1)
    torch.testing.assert_close(laid_out.transform(OTHERS), expected, rtol=1e-4, atol=1e-4)


def test_a_layout_is_saved_whole(laid_out, tmp_path):
    laid_out.save(tmp_path / "map.safetensors")
    opened = UMAPMap.load(tmp_path / "map.safetensors")
    torch.testing.assert_close(opened.transform(OTHERS), laid_out.transform(OTHERS), rtol=0, atol=0)
    with pytest.raises(InputError, match="holds no such map"):
        PCAMap.load(tmp_path / "map.safetensors")


def test_a_layout_that_cannot_be_is_refused(laid_out, monkeypatch):
    with pytest.raises(InputError, match=r"must be \(N, 5\)"):
        laid_out.transform(POINTS[:, :4])
    with pytest.raises(InputError, match="needs 16 texts, and there are 15"):
        UMAPMap.fit(POINTS[:15])
    monkeypatch.setattr("textvae.errors.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs the package umap-learn: pip install 'textvae\[map\]'"):
        UMAPMap.fit(POINTS)


@pytest.mark.slow
def test_umap_keeps_groups_together_and_the_same_seed_gives_the_same_map():
    umap = pytest.importorskip("umap")
    groups = torch.arange(60) % 3
    points = POINTS + 40 * torch.nn.functional.one_hot(groups, Z)
    own = UMAPMap.fit(points, seed=1)
    nearest = (torch.cdist(own.places, own.places) + torch.eye(N) * 1e9).argmin(1)
    assert (groups[nearest] == groups).all()
    torch.testing.assert_close(UMAPMap.fit(points, seed=1).places, own.places, rtol=0, atol=0)
    expected = umap.UMAP(random_state=1, n_jobs=1).fit_transform(points.numpy())
    torch.testing.assert_close(own.places, torch.from_numpy(expected))
