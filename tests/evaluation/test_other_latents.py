"""Other z for each text: of the right texts, and what each costs."""

import pytest
import torch

from textvae.evaluation.likelihood import BATTERY, draws_of_prior, noise_of_texts
from textvae.evaluation.other_latents import other_latents

MEAN = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
LATENTS = torch.arange(35.0).view(7, 5)
LABELS = [0, 2, 2, 0, 2, 1, 0]


@pytest.mark.parametrize("label_ids", [None, LABELS])
def test_each_text_gets_z_of_another_of_zero_of_the_mean_and_of_the_prior(make_model, label_ids):
    model = make_model("bert", "gru", label_names=["a", "b", "c"] if label_ids else [])
    found = other_latents(model, MEAN, LATENTS, label_ids, seed=1)
    assert all(latents.shape == (7, 5) for latents in found.values())
    for row in range(7):
        same = [i for i in range(7) if label_ids is None or label_ids[i] == label_ids[row]]
        others = [i for i in same if i != row] or same
        assert any(torch.equal(found["shuffle"][row], LATENTS[i]) for i in others)
        torch.testing.assert_close(found["mean"][row], MEAN[same].mean(0))
    assert sorted(found["shuffle"][:, 0].tolist()) == LATENTS[:, 0].tolist()
    assert not found["zero"].any()
    noise = noise_of_texts(1, BATTERY, range(7))(1, 5)[0]
    if label_ids is None:
        assert torch.equal(found["noise"], noise)
        return
    with torch.no_grad():
        mean, logvar = model.prior_parameters(torch.tensor(label_ids))
    torch.testing.assert_close(found["noise"], mean + (logvar / 2).exp() * noise)


def test_the_draw_of_a_text_does_not_depend_on_the_others(make_model):
    model = make_model("bert", "gru")
    some = draws_of_prior(model, None, [4, 1], 0, BATTERY)
    assert torch.equal(some, draws_of_prior(model, None, range(7), 0, BATTERY)[[4, 1]])
