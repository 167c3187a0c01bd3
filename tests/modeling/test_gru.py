"""The GRU language model by itself: its arithmetic, its dropout, its cache, its files."""

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from textvae import GRUConfig, GRUForCausalLM, GRUModel
from textvae.modeling.compat import CACHE_NAME
from textvae.modeling.gru import Dropout

SIZES = {
    "same": {"hidden_size": 16},
    "narrow embeddings": {"hidden_size": 18, "embedding_size": 14},
    "wide embeddings": {"hidden_size": 14, "embedding_size": 18},
}
every_size = pytest.mark.parametrize("size", SIZES)
layers = pytest.mark.parametrize("num_layers", [1, 2, 3])


@pytest.fixture
def build(shaken):
    def build(num_layers=1, size="narrow embeddings", **changes):
        torch.manual_seed(0)
        config = GRUConfig(vocab_size=29, num_hidden_layers=num_layers, **{**SIZES[size], **changes})
        return shaken(GRUForCausalLM(config))

    return build


@pytest.fixture
def ids():
    return torch.randint(4, 29, (3, 7), generator=torch.Generator().manual_seed(0))


def by_hand(model, ids):
    """Logits of one text, token by token, from the equations of the GRU (Cho et al. 2014)."""
    inputs = list(model.model.embed_tokens(ids))
    for layer in model.model.layers:
        state, outputs = torch.zeros(layer.hidden_size), []
        for x in inputs:
            a, b = layer.weight_ih_l0 @ x + layer.bias_ih_l0, layer.weight_hh_l0 @ state + layer.bias_hh_l0
            (ra, za, na), (rb, zb, nb) = a.chunk(3), b.chunk(3)
            reset, update = torch.sigmoid(ra + rb), torch.sigmoid(za + zb)
            state = (1 - update) * torch.tanh(na + reset * nb) + update * state
            outputs.append(state)
        inputs = outputs
    return torch.stack([model.lm_head(model.model.projection(state)) for state in inputs])


@layers
@every_size
def test_logits_are_those_of_the_equations(build, ids, num_layers, size):
    model = build(num_layers, size)
    with torch.no_grad():
        logits = model(ids).logits
        assert logits.shape == (3, 7, 29)
        for row in range(3):
            torch.testing.assert_close(logits[row], by_hand(model, ids[row]), rtol=1e-4, atol=1e-5)


@layers
@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_steps_with_the_cache_equal_one_pass(build, ids, num_layers, name):
    model = build(num_layers)
    with torch.no_grad():
        expected, cache, found = model(ids).logits, None, []
        for part in ids.split([1, 3, 2, 1], dim=1):
            output = model(part, **{name: cache}, use_cache=True)
            cache = getattr(output, CACHE_NAME)
            found.append(output.logits)
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=1e-5, atol=1e-6)
    assert cache.get_seq_length() == 7
    assert getattr(model(ids), CACHE_NAME) is None


@layers
@pytest.mark.parametrize("controls", [{"do_sample": False}, {"num_beams": 4, "num_return_sequences": 2}])
def test_generation_is_the_same_with_and_without_the_cache(build, num_layers, controls):
    model = build(num_layers, tie_word_embeddings=False, initializer_range=0.5)
    prompts = torch.randint(4, 29, (3, 4), generator=torch.Generator().manual_seed(1))
    cached = model.generate(prompts, max_new_tokens=8, **controls)
    assert torch.equal(model.generate(prompts, max_new_tokens=8, use_cache=False, **controls), cached)
    copies = controls.get("num_return_sequences", 1)
    alone = model.generate(prompts[[1]], max_new_tokens=8, **controls)
    assert torch.equal(cached[copies : 2 * copies, : alone.shape[1]], alone)


def test_the_loss_is_that_of_a_causal_language_model(build, ids):
    output = build()(ids, labels=ids)
    expected = cross_entropy(output.logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    torch.testing.assert_close(output.loss, expected)


def test_logits_to_keep_are_the_last(build, ids):
    model = build()
    torch.testing.assert_close(model(ids, logits_to_keep=2).logits, model(ids).logits[:, -2:])


@pytest.mark.parametrize("tied", [True, False])
def test_saved_and_opened_by_the_auto_classes_it_is_the_same(build, ids, tmp_path, tied):
    model = build(2, tie_word_embeddings=tied)
    model.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
    ]
    opened = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(opened, GRUForCausalLM)
    assert torch.equal(opened(ids).logits, model(ids).logits)
    assert (opened.lm_head.weight is opened.model.embed_tokens.weight) == tied
    backbone = AutoModel.from_pretrained(tmp_path)
    assert isinstance(backbone, GRUModel)
    assert torch.equal(backbone(ids).last_hidden_state, model.model(ids).last_hidden_state)
    assert AutoConfig.from_pretrained(tmp_path).to_dict() == opened.config.to_dict()


def test_the_recurrent_matrices_start_orthogonal():
    model = GRUForCausalLM(GRUConfig(vocab_size=29, hidden_size=16, num_hidden_layers=2))
    for layer in model.model.layers:
        for gate in layer.weight_hh_l0.chunk(3):
            torch.testing.assert_close(gate @ gate.T, torch.eye(16), rtol=0, atol=1e-5)
        assert (layer.bias_hh_l0 == 0).all() and (layer.bias_ih_l0 == 0).all()


def test_the_embedding_size_is_the_hidden_size_when_not_given():
    assert GRUConfig(hidden_size=48).embedding_size == 48
    assert GRUConfig(hidden_size=48, embedding_size=32).embedding_size == 32


# dropout


def test_variational_dropout_is_one_mask_for_all_positions_of_a_text():
    torch.manual_seed(0)
    dropped = Dropout(0.4, shared=True)(torch.ones(5, 7, 64))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert all((dropped[0] != dropped[row]).any() for row in range(1, 5))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.6])


def test_plain_dropout_differs_between_positions():
    torch.manual_seed(0)
    dropped = Dropout(0.4, shared=False)(torch.ones(5, 7, 64))
    assert all((dropped[:, 0] != dropped[:, position]).any() for position in range(1, 7))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.6])


@pytest.mark.parametrize("shared", [True, False])
def test_dropout_keeps_the_expectation_and_the_share(shared):
    torch.manual_seed(0)
    dropped = Dropout(0.3, shared)(torch.ones(200, 3, 100))
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("variational", [True, False])
def test_dropout_acts_in_training_only(build, ids, num_layers, variational):
    model = build(num_layers, dropout=0.5, variational_dropout=variational)
    plain = build(num_layers)
    assert torch.equal(model(ids).logits, plain(ids).logits)
    model.train()
    first, second = model(ids).logits, model(ids).logits
    assert ((first - second).abs().amax((1, 2)) > 1e-3).all()  # every text has masks of its own
    same = model(ids[:1].expand(3, -1)).logits
    assert not torch.isclose(same[0], same[1]).all()


@pytest.mark.parametrize("variational", [True, False])
def test_dropout_is_on_the_embeddings_between_the_layers_and_on_the_output(build, variational):
    model, shares = build(2, dropout=0.3, variational_dropout=variational).train(), []
    for module in (*model.model.layers, model.model.projection):
        module.register_forward_pre_hook(lambda _, inputs: shares.append((inputs[0] == 0).float().mean().item()))
    torch.manual_seed(0)
    model(torch.randint(4, 29, (100, 7)))
    assert shares == pytest.approx([0.3] * 3, abs=0.03)


# weight dropout


@pytest.fixture
def recurrent_weights(build, monkeypatch):
    """Of a model in training, and the hidden-to-hidden weights that each pass of one of its layers really used."""
    used = []
    run = torch.nn.GRU.forward

    def watched(self, *args):
        used.append(self.weight_hh_l0)
        return run(self, *args)

    monkeypatch.setattr(torch.nn.GRU, "forward", watched)
    return build(2, weight_dropout=0.5).train(), used


def test_weight_dropout_acts_in_training_only(build, ids):
    plain, dropped = build(2), build(2, weight_dropout=0.5)
    assert torch.equal(dropped(ids).logits, plain(ids).logits)
    dropped.train(), torch.manual_seed(0)
    first, second = dropped(ids).logits, dropped(ids).logits
    assert not torch.equal(first, second) and not torch.equal(first, plain(ids).logits)


def test_weight_dropout_is_on_the_recurrent_weights_alone(build, ids):
    """The first position has no state before it: nothing there is dropped."""
    plain, dropped = build(1), build(1, weight_dropout=0.5).train()
    torch.manual_seed(0)
    found, expected = dropped(ids).logits, plain(ids).logits
    torch.testing.assert_close(found[:, 0], expected[:, 0])
    assert (found[:, 1] - expected[:, 1]).abs().max() > 1e-4


def test_weight_dropout_is_one_mask_for_all_positions_and_scales_what_it_keeps(recurrent_weights, ids):
    model, used = recurrent_weights
    torch.manual_seed(0)
    logits = model(ids).logits
    assert len(used) == 2, "one a layer"
    for layer, weights in zip(model.model.layers, used, strict=True):
        kept = weights != 0
        assert 0.4 < kept.float().mean() < 0.6
        torch.testing.assert_close(weights[kept], 2 * layer.weight_hh_l0[kept])
        with torch.no_grad():
            layer.weight_hh_l0.copy_(weights)
    by_equations = torch.stack([by_hand(model, text) for text in ids])
    torch.testing.assert_close(logits, by_equations, rtol=1e-4, atol=1e-5)


def test_weight_dropout_touches_no_weight_and_lets_the_gradient_of_what_it_kept_through(recurrent_weights, ids):
    model, used = recurrent_weights
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = [name for name, _ in model.named_parameters()]
    model(ids, labels=ids).loss.backward()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [name for name, _ in model.named_parameters()] == names
    for layer, weights in zip(model.model.layers, used, strict=True):
        gradient = layer.weight_hh_l0.grad
        assert not gradient[weights == 0].any() and (gradient[weights != 0] != 0).float().mean() > 0.9


def test_weight_dropout_works_under_bf16_autocast(build, ids):
    model = build(2, weight_dropout=0.5).train()
    torch.manual_seed(0)
    expected = model(ids, labels=ids).loss
    torch.manual_seed(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(ids, labels=ids).loss
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=0.02)
    assert all(layer.weight_hh_l0.grad.abs().sum() > 0 for layer in model.model.layers)
