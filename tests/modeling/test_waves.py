"""Position waves: features that tell positions apart, in pooling and injection, in any step of decoding."""

import pytest
import torch

from textvae.modeling.waves import num_features, pooled_by_position, position_features

WAVES = 3
LIKE = torch.zeros(())


def test_features_have_norm_one_and_tell_positions_apart():
    features = position_features(0, 64, WAVES, LIKE)
    assert features.shape == (64, num_features(WAVES))
    torch.testing.assert_close(features.norm(dim=1), torch.ones(64))
    assert torch.cdist(features, features).fill_diagonal_(1).min() > 0.05
    assert position_features(0, 5, 0, LIKE).equal(torch.ones(5, 1))


def test_a_later_start_is_a_part_of_the_whole():
    torch.testing.assert_close(position_features(7, 4, WAVES, LIKE), position_features(0, 20, WAVES, LIKE)[7:11])


def test_a_shift_of_all_positions_is_one_linear_map():
    whole = position_features(0, 40, WAVES, LIKE).double()
    shift = torch.linalg.lstsq(whole[:20], whole[3:23]).solution
    torch.testing.assert_close(whole[20:37] @ shift, whole[23:40], atol=1e-4, rtol=0)


def test_pooling_keeps_which_state_stands_where():
    states = torch.randn(2, 6, 4)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    pooled = pooled_by_position(states, mask, WAVES)
    turned = pooled_by_position(states.flip(1), mask, WAVES)
    assert (pooled[0, :4] - turned[0, :4]).abs().max() < 1e-5  # the constant feature is a mean
    assert (pooled[0, 4:] - turned[0, 4:]).abs().max() > 0.1
    nan = states.masked_fill(mask.unsqueeze(-1) == 0, float("nan"))
    torch.testing.assert_close(pooled_by_position(nan, mask, WAVES), pooled)
    torch.testing.assert_close(pooled_by_position(states[1:, :3], mask[1:, :3], WAVES), pooled[1:])


@pytest.mark.parametrize("decoder", ["gru", "gru2", "gpt2", "llama"])
@pytest.mark.parametrize("injection", [["embedding"], ["output"], ["prefix", "embedding", "output"]])
def test_a_cached_step_is_told_its_position(make_model, decoder, injection):
    model = make_model("bert", decoder, latent_injection=injection, position_waves=WAVES).eval()
    latents = torch.randn(2, model.config.latent_size)
    with torch.no_grad():
        written = model.generate(latents, max_new_tokens=7, min_new_tokens=7, do_sample=False)
        logits = model.decode(latents, written[:, :-1])
        beams = model.generate(latents, max_new_tokens=7, num_beams=3)
        best = -model.reconstruction(latents, beams[:, 1:].masked_fill(beams[:, 1:] == 0, -100))
    logits[..., model.config.eos_token_id] = -torch.inf  # as `min_new_tokens` has it
    assert written[:, 1:].equal(logits.argmax(-1))
    assert best.isfinite().all()


@pytest.mark.parametrize("labels", [[], ["a", "b"]])
def test_padding_and_batch_change_nothing_and_z_depends_on_the_order(make_model, make_texts, labels):
    model = make_model(position_waves=WAVES, latent_injection=["embedding", "output"], label_names=labels).eval()
    batch = make_texts([6, 3])
    if labels:
        batch["label_ids"] = torch.tensor([0, 1])
    noise = torch.zeros(2, model.config.latent_size)
    whole = model(**batch, noise=noise)
    alone = {name: tensor[1:, :3] if tensor.dim() == 2 else tensor[1:] for name, tensor in batch.items()}
    torch.testing.assert_close(model(**alone, noise=noise[1:]).reconstruction, whole.reconstruction[1:])
    if labels:
        other = model(**batch | {"label_ids": torch.tensor([1, 1])}, noise=noise)
        assert (other.mean[0] != whole.mean[0]).all() and other.mean[1].equal(whole.mean[1])
