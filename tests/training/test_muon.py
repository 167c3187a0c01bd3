"""Muon: orthogonal updates of hidden matrices, AdamW's of all else; resumed exactly."""

import pytest
import torch
from safetensors.torch import load_file
from tiny_runs import BERT, GPT2, GRU, config, write_lines

from textvae import TextVAEConfig, TextVAEModel
from textvae.training.muon import Muon, orthogonal_factor
from textvae.training.optimization import hidden_matrices, make_optimizer
from textvae.training.train import train

SPECIAL = {"vocab_size": 40, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}


def model_of(decoder):
    torch.manual_seed(0)
    parts = {"encoder": {**BERT, **SPECIAL}, "decoder": {**decoder, **SPECIAL}}
    return TextVAEModel(TextVAEConfig(**parts, latent_size=5, tie_encoder_embeddings=True))


@pytest.mark.parametrize("shape", [(7, 7), (4, 9), (9, 4), (3, 5, 8)])
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_singular_values_become_one_and_vectors_stay(shape, scale):
    generator = torch.Generator().manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape, generator=generator), full_matrices=False)
    values = torch.logspace(-1.9, 0, min(shape[-2:]))
    found = orthogonal_factor(left * values @ right * scale)
    again = left.mT @ found @ right.mT
    off = again - again.diagonal(dim1=-2, dim2=-1).diag_embed()
    assert off.abs().max() < 1e-3
    values = again.diagonal(dim1=-2, dim2=-1)
    assert values.min() > 0.72 and values.max() < 1.28


def test_nothing_moves_along_nothing():
    assert orthogonal_factor(torch.zeros(3, 4)).equal(torch.zeros(3, 4))


@pytest.mark.parametrize("decoder", [GRU, GPT2])
def test_the_hidden_matrices_are_those_between_states(decoder):
    model = model_of(decoder)
    found = hidden_matrices(model)
    names = {name for name, weight in model.named_parameters() if weight in found}
    assert names and all(name.startswith(("encoder.", "decoder.")) for name in names)
    assert not any(word in name for name in names for word in ("embed", "lm_head", "wte", "wpe", "norm", "bias"))
    assert any("attention" in name for name in names) and {2, 3} >= {weight.dim() + 1 for weight in found}
    gates = {name for name, weight in model.named_parameters() if found.get(weight) == 3}
    assert gates == {name for name in names if "_ih_" in name} and not any("_hh_" in name for name in names)


def stepped(optimizer_kind, weights, grads, groups=(), **options):
    optimizer = optimizer_kind([{"params": weights, **dict(groups)}], lr=0.1, **options)
    for given in grads:
        for weight, grad in zip(weights, given, strict=True):
            weight.grad = grad.clone()
        optimizer.step()
    return [weight.detach().clone() for weight in weights]


def test_without_hidden_matrices_it_is_adamw():
    grads = [[torch.randn(3, 4), torch.randn(5)] for _ in range(4)]
    start = [torch.randn(3, 4), torch.randn(5)]
    ours, theirs = (
        stepped(kind, [torch.nn.Parameter(w.clone()) for w in start], grads, weight_decay=0.1)
        for kind in (Muon, torch.optim.AdamW)
    )
    assert all(one.equal(other) for one, other in zip(ours, theirs, strict=True))


def test_a_step_is_as_large_as_one_of_adamw_and_each_block_moves_alone():
    weight, grad = torch.zeros(12, 6), torch.randn(12, 6)
    options = {"groups": {"num_blocks": 3}, "weight_decay": 0.0}
    (moved,) = stepped(Muon, [torch.nn.Parameter(weight.clone())], [[grad]], **options)
    changed = grad.clone()
    changed[4:8] = torch.randn(4, 6) * 100
    (other,) = stepped(Muon, [torch.nn.Parameter(weight.clone())], [[changed]], **options)
    assert moved[:4].equal(other[:4]) and moved[8:].equal(other[8:]) and not moved[4:8].equal(other[4:8])
    # 0.2 is the usual root mean square of AdamW's updates (Liu et al. 2025), which all rows of a factor would have.
    assert 0.5 < moved.square().mean().sqrt() / (0.1 * 0.2) < 1.5


def test_the_scale_of_a_gradient_does_not_matter():
    grad = torch.randn(6, 6)
    moves = [
        stepped(Muon, [torch.nn.Parameter(torch.zeros(6, 6))], [[grad * scale]], {"num_blocks": 1})[0]
        for scale in (1.0, 1e-4)
    ]
    torch.testing.assert_close(moves[0], moves[1])


def test_weight_decay_shrinks_and_a_frozen_matrix_stays():
    start = torch.randn(6, 6)
    (moved,) = stepped(
        Muon, [torch.nn.Parameter(start.clone())], [[torch.zeros(6, 6)]], {"num_blocks": 1}, weight_decay=0.5
    )
    torch.testing.assert_close(moved, start * 0.95)
    optimizer, weight = None, torch.nn.Parameter(start.clone())
    optimizer = Muon([{"params": [weight], "num_blocks": 1}], lr=0.1)
    optimizer.step()
    assert weight.equal(start) and not optimizer.state


def test_every_trainable_parameter_is_in_one_group():
    model = model_of(GRU)
    optimizer = make_optimizer(config("x", "y", optimizer="muon", encoder_learning_rate=0.5), model)
    grouped = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert len(grouped) == len({*grouped}) and {*grouped} == {*model.parameters()}
    rates = {group["lr"] for group in optimizer.param_groups if group["num_blocks"] and group["params"]}
    assert rates == {0.5, 2e-3}


def test_a_run_learns_and_is_resumed_exactly(tmp_path):
    settings = {"optimizer": "muon", "max_steps": 8, "save_steps": 4}
    corpus = write_lines(tmp_path / "texts.txt")
    train(config(corpus, tmp_path / "run", **settings))
    whole = load_file(tmp_path / "run" / "model.safetensors")
    torch.manual_seed(99)
    checkpoint = str(tmp_path / "run" / "checkpoint-4")
    train(config(corpus, tmp_path / "run", **settings, resume_from_checkpoint=checkpoint))
    found = load_file(tmp_path / "run" / "model.safetensors")
    assert all(found[name].equal(tensor) for name, tensor in whole.items())
