"""WeightAverage: the mean it promises, of exactly the weights it was shown."""

import pytest
import torch
from torch import nn

from textvae.errors import InputError
from textvae.training.averaging import WeightAverage


@pytest.fixture
def model(make_model):
    """With tied weights and, in its batch norm, buffers."""
    return make_model(mean_batch_norm=0.5)


def walk(model, average, steps, seed=0):
    """Weights and buffers of each of some random steps, each of which the average sees."""
    generator, seen = torch.Generator().manual_seed(seed), []
    for step in steps:
        with torch.no_grad():
            for tensor in (*model.parameters(), model.posterior.mean_norm.norm.running_mean):
                tensor.add_(torch.randn(tensor.shape, generator=generator))
        average.update(model, step)
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
    return seen


def learnt(model):
    return [name for name, _ in model.named_parameters()]


def assert_is(average, model, expected):
    values = average.of(model).state_dict()
    for name in learnt(model):
        torch.testing.assert_close(values[name], expected[name], rtol=1e-5, atol=1e-5, msg=name)


def mean_of(states):
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(states[0][name]) for name in states[0]
    }


def ema_of(states, decay):
    expected = dict(states[0])
    for n, state in enumerate(states[1:], start=1):
        kept = min(decay, n / (9 + n))
        expected = {name: kept * expected[name] + (1 - kept) * state[name] for name in expected}
    return expected


def test_swa_is_the_plain_mean_of_the_weights(model):
    average = WeightAverage(model, "swa")
    assert_is(average, model, mean_of(walk(model, average, range(1, 8))))


def test_swa_begins_after_its_start(model):
    average = WeightAverage(model, "swa", start=3)
    seen = walk(model, average, [1, 2, 3])
    assert average.of(model) is model
    seen += walk(model, average, [4, 5, 6], seed=1)
    assert_is(average, model, mean_of(seen[3:]))


def test_a_resumed_run_that_puts_the_start_off_forgets_what_it_had(model):
    average = WeightAverage(model, "swa", start=3)
    walk(model, average, [4, 5])
    later = WeightAverage(model, "swa", start=6)
    later.load_state_dict(average.state_dict())
    walk(model, later, [6], seed=1)
    assert later.of(model) is model
    assert_is(later, model, mean_of(walk(model, later, [7, 8], seed=2)))


@pytest.mark.parametrize("decay", [0.9, 0.3, 0.0])
def test_ema_is_its_recurrence(model, decay):
    average = WeightAverage(model, "ema", decay=decay)
    assert_is(average, model, ema_of(walk(model, average, range(1, 8)), decay))


def test_ema_forgets_the_first_weights(model):
    """After n steps with 1 - decay = 1/10 the weights of the start have a share of 0.9ⁿ at most."""
    average = WeightAverage(model, "ema", decay=0.9)
    walk(model, average, range(1, 3))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(2.0)
    for step in range(3, 150):
        average.update(model, step)
    for parameter in average.of(model).parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, 2.0), rtol=0, atol=1e-3)


def test_none_is_the_model_itself(model):
    average = WeightAverage(model, "none")
    walk(model, average, range(1, 4))
    assert average.of(model) is model
    assert average.state_dict() == {"num_averaged": 0, "weights": {}}


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_the_model_is_left_as_it_is_and_shares_nothing_with_its_average(model, kind):
    average = WeightAverage(model, kind)
    for_comparison = [value.clone() for value in model.state_dict().values()]
    average.update(model, 1)
    walk(average.of(model), WeightAverage(model, "none"), [1])
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), for_comparison, strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in average.of(model).parameters())


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_restarted_it_is_as_new(model, kind):
    average, new = (WeightAverage(model, kind) for _ in range(2))
    walk(model, average, range(1, 5))
    average.restart()
    assert average.of(model) is model
    average.update(model, 5), new.update(model, 5)
    for first, second in zip(average.of(model).parameters(), new.of(model).parameters(), strict=True):
        assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_it_goes_on_from_its_state_exactly(model, kind, make_model, tmp_path):
    whole, first = (WeightAverage(model, kind) for _ in range(2))
    walk(model, first, range(1, 4))
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = WeightAverage(make_model(mean_batch_norm=0.5), kind)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    again = make_model(mean_batch_norm=0.5)
    walk(again, whole, range(1, 4))
    walk(again, whole, range(4, 8), seed=1)
    walk(model, second, range(4, 8), seed=1)
    assert second.num_averaged == whole.num_averaged == 7
    for (name, value), expected in zip(
        second.of(model).state_dict().items(), whole.of(again).state_dict().values(), strict=True
    ):
        assert torch.equal(value, expected), name


def test_a_state_without_average_starts_none_and_none_ignores_one(model):
    average, kept = WeightAverage(model, "swa"), WeightAverage(model, "ema")
    average.load_state_dict(WeightAverage(model, "none").state_dict())
    assert average.of(model) is model
    kept.update(model, 1)
    without = WeightAverage(model, "none")
    without.load_state_dict(kept.state_dict())
    assert without.of(model) is model


def test_tied_weights_stay_tied(model):
    average = WeightAverage(model, "swa")
    walk(model, average, range(1, 4))
    decoder = average.of(model).decoder
    assert decoder.lm_head.weight is decoder.model.embed_tokens.weight
    assert decoder.lm_head.weight is not model.decoder.lm_head.weight


def test_buffers_are_those_of_the_model(model):
    average = WeightAverage(model, "swa")
    walk(model, average, range(1, 4))
    norms = (each.posterior.mean_norm.norm for each in (average.of(model), model))
    assert torch.equal(*(norm.running_mean for norm in norms))


def test_it_follows_the_model_to_its_device_in_a_resumed_run_too(model):
    """Built before the model is moved; loaded on the CPU."""
    before, resumed = (WeightAverage(model, "swa") for _ in range(2))
    before.update(model, 1)
    resumed.load_state_dict(before.state_dict())
    model.to("meta")
    resumed.update(model, 2)
    assert {parameter.device.type for parameter in resumed.of(model).parameters()} == {"meta"}


def test_averaged_weights_make_a_model_of_their_own(model, make_texts):
    average = WeightAverage(model, "swa")
    nn.init.constant_(model.posterior.to_mean.bias, 1.0)
    average.update(model, 1)
    nn.init.constant_(model.posterior.to_mean.bias, 3.0)
    average.update(model, 2)
    bias = average.of(model).posterior.to_mean.bias
    torch.testing.assert_close(bias, torch.full_like(bias, 2.0))
    assert average.of(model)(**make_texts([4, 3])).loss.isfinite()


def test_an_unknown_kind_is_named(model):
    with pytest.raises(InputError, match="weight_averaging must be one of none, ema, swa, not 'mean'"):
        WeightAverage(model, "mean")
