"""Maps: the plane of most variance, the same for the same points whenever they are placed, saved, and refused."""

import numpy as np
import pytest
import torch

from textvae import InputError
from textvae.latents import PCAMap

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
        with pytest.raises(InputError, match="holds no map"):
            PCAMap.load(tmp_path / name)
