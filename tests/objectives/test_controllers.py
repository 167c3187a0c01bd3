"""RateController: β as the papers have it, and a KL that ends where it should, whatever the plant."""

import math
import random
from dataclasses import replace

import pytest

from textvae.errors import InputError
from textvae.objectives.controllers import RateController


def steer(controller, plant, steps, noise=0.0, seed=0):
    """β and KL of each step, with the plant's KL for each β."""
    generator, seen = random.Random(seed), []
    for _ in range(steps):
        beta = controller.beta
        kl = max(0.0, plant(beta) + generator.gauss(0, noise))
        controller.update(kl)
        seen.append((beta, kl))
    return seen


def falling(scale):
    return lambda beta: scale / (max(beta, 0.0) + 0.1)


def last_kl(seen, steps=200):
    return sum(kl for _, kl in seen[-steps:]) / steps


# pi


def test_the_first_values_of_pi_by_hand():
    """ControlVAE, algorithm 1: e = target − KL, P = K_p / (1 + exp e), I ← I − K_i e, β = P + I, held within limits."""
    controller = RateController("pi", target=3.0, limit=1.0, gain=0.01, proportional_gain=0.02)
    assert controller.beta == 0
    integral = 0.0
    for kl in (13.0, 5.0, 2.0, 4.0):
        error = 3.0 - kl
        integral -= 0.01 * error
        controller.update(kl)
        assert controller.beta == pytest.approx(0.02 / (1 + math.exp(error)) + integral)
    controller.update(1e6)
    assert controller.beta == 1.0
    for _ in range(2):
        controller.update(-1e6)
        assert controller.beta == 0.0


def test_pi_starts_near_zero_while_the_kl_is_below_the_target():
    controller = RateController("pi", target=20.0, gain=1e-3)
    assert all(beta < 0.01 for beta, _ in steer(controller, lambda beta: 5.0, 500))


@pytest.mark.parametrize("scale", [2.0, 4.0, 9.0])
@pytest.mark.parametrize("start", [0.0, 1.0])
def test_pi_holds_the_target_from_both_sides(scale, start):
    """From β = 0, where the KL is far above the target, and from β = 1, where it is below it."""
    controller = RateController("pi", target=10.0, gain=1e-3, integral=start, beta=start, updates=1)
    seen = steer(controller, falling(scale), 3000, noise=1.0)
    assert (seen[0][1] > 10) == (start == 0)
    assert last_kl(seen) == pytest.approx(10.0, abs=0.5)
    assert controller.beta == pytest.approx(scale / 10 - 0.1, abs=0.1)
    assert controller.missed() is None


@pytest.mark.parametrize(("kind", "lowest"), [("pi", 0.0), ("mdr", -0.7)])
def test_beta_never_leaves_its_limits(kind, lowest):
    controller = RateController(kind, target=5.0, limit=0.7, gain=0.05)
    generator = random.Random(0)
    betas = []
    for _ in range(2000):
        controller.update(generator.choice([0.0, 4.0, 6.0, 1e4, 1e9]))
        betas.append(controller.beta)
    assert lowest <= min(betas) < lowest + 0.02 and 0.68 < max(betas) <= 0.7


@pytest.mark.parametrize("kind", ["pi", "mdr"])
@pytest.mark.parametrize("unreachable", [0.0, 1000.0], ids=["too low", "too high"])
def test_nothing_winds_up_while_the_target_is_out_of_reach(kind, unreachable):
    short, long = (RateController(kind, target=10.0, gain=1e-3) for _ in range(2))
    steer(short, lambda _: unreachable, 500)
    steer(long, lambda _: unreachable, 20_000)
    assert short.beta == long.beta
    after_short, after_long = (steer(controller, falling(5.0), 1500) for controller in (short, long))
    assert after_long == after_short
    if kind == "pi":
        assert last_kl(after_long) == pytest.approx(10.0, abs=0.2)


# mdr


def test_the_first_values_of_mdr_by_hand():
    """β = limit − λ with λ ← max(0, λ + gain · (target − KL)): gradient ascent on the Lagrangian."""
    controller = RateController("mdr", target=5.0, limit=1.0, gain=0.01)
    assert controller.beta == 1.0
    found = []
    for kl in (9.0, 1.0, 0.0, 7.0, 100.0):
        controller.update(kl)
        found.append(controller.beta)
    assert found == pytest.approx([1.0, 1 - 0.04, 1 - 0.09, 1 - 0.07, 1.0])


def test_mdr_raises_the_kl_to_the_target():
    controller = RateController("mdr", target=20.0, gain=1e-3)
    seen = steer(controller, falling(5.0), 3000, noise=1.0)
    assert seen[0][1] < 10
    assert last_kl(seen) == pytest.approx(20.0, abs=1)
    assert controller.missed() is None


def test_mdr_leaves_a_kl_above_the_target_alone():
    controller = RateController("mdr", target=3.0, gain=1e-3)
    assert {beta for beta, _ in steer(controller, falling(5.0), 500, noise=0.1)} == {1.0}
    controller = replace(controller, integral=0.5, beta=0.5)
    assert steer(controller, falling(5.0), 1000)[-1] == (1.0, 5 / 1.1), "β comes back to its limit"


def test_mdr_pays_for_kl_where_taking_its_price_away_is_not_enough():
    controller = RateController("mdr", target=8.0, gain=1e-2)
    seen = steer(controller, lambda beta: 5.0 - 10 * beta, 3000)
    assert controller.beta == pytest.approx(-0.3, abs=0.01) and last_kl(seen) == pytest.approx(8.0, abs=0.1)


# its state


@pytest.mark.parametrize("kind", ["pi", "mdr"])
def test_it_goes_on_from_its_state_exactly(kind):
    whole, first, second = (RateController(kind, target=10.0, gain=1e-3) for _ in range(3))
    expected = steer(whole, falling(5.0), 400)
    cut = steer(first, falling(5.0), 150)
    second.load_state_dict(first.state_dict())
    assert cut + steer(second, falling(5.0), 250) == expected
    assert second.state_dict() == whole.state_dict()


def test_a_resumed_run_has_the_target_limit_and_gain_that_it_is_told():
    old, new = RateController("pi", 10.0, 1.0, 1e-3), RateController("pi", 4.0, 0.5, 1e-2, 0.1)
    steer(old, falling(5.0), 100)
    new.load_state_dict(old.state_dict())
    assert (new.target, new.limit, new.gain, new.proportional_gain) == (4.0, 0.5, 1e-2, 0.1)
    assert (new.integral, new.beta, new.mean_kl, new.updates) == (old.integral, old.beta, old.mean_kl, 100)


# what is said in the end


def test_nothing_is_missed_before_the_first_step():
    assert RateController("pi", target=10.0).missed() is None


@pytest.mark.parametrize(
    ("kind", "kl", "steps", "told"),
    [
        ("pi", 9.05, 300, None),
        ("pi", 10.95, 300, None),
        ("mdr", 30.0, 300, None),
        ("pi", 30.0, 300, "30.00 with β at 1; raise beta, the limit of β."),
        ("pi", 4.0, 300, "4.00 with β at 0; lower kl_target, or use a decoder that depends more on z."),
        ("mdr", 4.0, 3000, "4.00 with β at -1; lower kl_target, or use a decoder that depends more on z."),
        ("mdr", 4.0, 50, "or train longer or with a larger kl_controller_gain, as β was still changing."),
        ("pi", 12.0, 50, "or train longer or with a larger kl_controller_gain, as β was still changing."),
    ],
)
def test_it_says_what_was_reached_and_what_would_help(kind, kl, steps, told):
    controller = RateController(kind, target=10.0, gain=1e-3)
    steer(controller, lambda _: kl, steps)
    message = controller.missed()
    if told is None:
        assert message is None
    else:
        assert message.startswith("The target rate of 10 nats was not reached: ") and message.endswith(told)
        assert "\n" not in message


def test_the_last_hundred_steps_decide():
    controller = RateController("pi", target=10.0)
    steer(controller, lambda _: 500.0, 100)
    steer(controller, lambda _: 10.0, 900)
    assert controller.missed() is None


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"kind": "pid"}, "kl_controller must be pi or mdr, not 'pid'"),
        ({"target": 0.0}, "needs a kl_target above 0, not 0.0"),
        ({"target": math.nan}, "kl_target above 0, not nan"),
        ({"limit": -1.0}, "needs a beta above 0"),
        ({"gain": math.inf}, "needs a kl_controller_gain above 0"),
    ],
)
def test_wrong_arguments_are_named(arguments, told):
    with pytest.raises(InputError, match=told):
        RateController(**{"kind": "pi", "target": 10.0, **arguments})
