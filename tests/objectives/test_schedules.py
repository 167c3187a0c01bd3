import math
from itertools import pairwise

import pytest

from textvae.errors import InputError
from textvae.objectives.schedules import SHAPES, KLSchedule

CLIMBING = ["linear", "logistic", "cosine"]
STEPS = 1000


def weights(schedule, total_steps=STEPS):
    return [schedule(step, total_steps) for step in range(total_steps + 1)]


def test_constant_is_beta_throughout():
    assert set(weights(KLSchedule(beta=0.3))) == {0.3}
    assert weights(KLSchedule(beta=0.3, zero_phase=0.5)) == [0.0] * 500 + [0.3] * 501


@pytest.mark.parametrize("kind", CLIMBING)
@pytest.mark.parametrize("beta", [1.0, 0.3, 0.0])
@pytest.mark.parametrize(("zero_phase", "warmup"), [(0.0, 0.25), (0.5, 0.25), (0.0, 1.0), (0.7, 0.3), (0.9, 0.1)])
def test_climb_is_monotone_between_exact_ends(kind, beta, zero_phase, warmup):
    schedule = KLSchedule(kind, beta=beta, zero_phase=zero_phase, warmup=warmup)
    values = weights(schedule)
    assert values[0] == 0 and values[-1] == beta and max(values) == beta
    assert all(a <= b for a, b in pairwise(values))
    assert all(value == 0 for value in values[: math.ceil(zero_phase * STEPS)])
    assert all(value == beta for value in values[round((zero_phase + warmup) * STEPS) + 1 :])


@pytest.mark.parametrize("kind", CLIMBING)
def test_climb_passes_its_middle_halfway_and_is_symmetric(kind):
    schedule = KLSchedule(kind, beta=0.8, zero_phase=0.2, warmup=0.4)
    assert schedule(400, STEPS) == pytest.approx(0.4)
    for offset in (50, 100, 150):
        assert schedule(400 - offset, STEPS) + schedule(400 + offset, STEPS) == pytest.approx(0.8)


def test_shapes_follow_their_formulas():
    quarter = {kind: KLSchedule(kind, warmup=1.0)(250, STEPS) for kind in CLIMBING}
    sigmoid = [1 / (1 + math.exp(6 - 12 * done)) for done in (0, 0.25, 1)]
    assert quarter["linear"] == 0.25
    assert quarter["cosine"] == pytest.approx((1 - math.sqrt(0.5)) / 2)
    assert quarter["logistic"] == pytest.approx((sigmoid[1] - sigmoid[0]) / (sigmoid[2] - sigmoid[0]))


@pytest.mark.parametrize("kind", CLIMBING)
def test_climb_begins_at_start(kind):
    schedule = KLSchedule(kind, beta=0.9, start=0.1, warmup=0.5, zero_phase=0.2)
    assert schedule(199, STEPS) == 0
    assert schedule(200, STEPS) == pytest.approx(0.1)
    assert schedule(700, STEPS) == pytest.approx(0.9)
    assert set(weights(KLSchedule(kind, beta=0.1, start=0.1))) == {0.1}


def test_the_end_is_exact_where_the_sum_would_round():
    rounded = [(start / 100, beta / 100) for beta in range(101) for start in range(beta)]
    rounded = [(start, beta) for start, beta in rounded if start + (beta - start) < beta]
    assert rounded
    assert all(KLSchedule("linear", beta=beta, start=start)(500, STEPS) == beta for start, beta in rounded)


def test_cycles_repeat_and_end_at_beta():
    schedule = KLSchedule("cyclical", beta=0.5, num_cycles=4, ramp=0.5)
    values = weights(schedule)
    assert all(values[step] == values[step + 250] for step in range(750))
    assert values[:125] == sorted(values[:125]) and values[0] == 0
    assert values[62] == pytest.approx(0.5 * 62 / 125)
    assert set(values[125:250]) == {0.5} and values[250] == 0 and values[STEPS] == 0.5


def test_cycles_of_uneven_length_are_all_there():
    values = weights(KLSchedule("cyclical", num_cycles=3, ramp=0.5), total_steps=100)
    restarts = [step for step in range(1, 100) if values[step] < values[step - 1]]
    assert restarts == [34, 67] and values[-1] == 1


def test_each_cycle_has_its_zero_phase():
    values = weights(KLSchedule("cyclical", num_cycles=2, zero_phase=0.5, ramp=0.25))
    for first in (0, 500):
        assert set(values[first : first + 250]) == {0.0}
        assert values[first + 250 : first + 375] == sorted(values[first + 250 : first + 375])
        assert set(values[first + 375 : first + 500]) == {1.0}


def test_optimus_is_one_cycle_and_also_linear():
    cycle = KLSchedule("cyclical", num_cycles=1, zero_phase=0.5, ramp=0.25)
    assert weights(cycle) == weights(KLSchedule("linear", zero_phase=0.5, warmup=0.25))


@pytest.mark.parametrize("kind", SHAPES)
def test_depends_on_the_share_of_steps_only_and_stays_at_beta_after_them(kind):
    schedule = KLSchedule(kind, beta=0.7, zero_phase=0.1)
    assert [schedule(step, 100) for step in range(101)] == pytest.approx(weights(schedule)[::10])
    assert schedule(2 * STEPS, STEPS) == schedule(0, 0) == 0.7


def climbs(schedule, total_steps=100):
    return [step for step in range(2 * total_steps) if schedule.begins_climb(step, total_steps)]


@pytest.mark.parametrize("kind", ["constant", *CLIMBING])
def test_the_climb_begins_where_the_zero_phase_ends(kind):
    schedule = KLSchedule(kind, zero_phase=0.3, warmup=0.5)
    assert climbs(schedule) == [30]
    assert schedule(29, 100) == 0 < schedule(31, 100)


@pytest.mark.parametrize("kind", ["constant", *CLIMBING])
def test_without_a_zero_phase_there_is_no_climb_but_that_of_step_0(kind):
    assert climbs(KLSchedule(kind)) == []


def test_a_climb_begins_in_every_cycle():
    assert climbs(KLSchedule("cyclical", num_cycles=4)) == [25, 50, 75]
    assert climbs(KLSchedule("cyclical", num_cycles=2, zero_phase=0.5, ramp=0.25)) == [25, 75]
    assert climbs(KLSchedule("cyclical", num_cycles=1)) == []


def test_cycles_of_uneven_length_climb_where_the_weight_starts_anew():
    schedule = KLSchedule("cyclical", num_cycles=3, ramp=0.5)
    values = weights(schedule, total_steps=100)
    assert climbs(schedule) == [step for step in range(1, 100) if values[step] < values[step - 1]] == [34, 67]
    assert climbs(KLSchedule("cyclical", num_cycles=3, zero_phase=0.1)) == [4, 37, 70]


@pytest.mark.parametrize("kind", SHAPES)
def test_no_climb_begins_at_the_first_step_or_the_last(kind):
    for schedule in (KLSchedule(kind), KLSchedule(kind, zero_phase=0.1)):
        assert not schedule.begins_climb(0, 100) and not schedule.begins_climb(100, 100)
        assert not schedule.begins_climb(0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "cyclic"}, "not 'cyclic'. Did you mean 'cyclical'"),
        ({"beta": -1.0}, "beta must be at least 0"),
        ({"beta": math.nan}, "beta must be"),
        ({"beta": "high"}, "beta must be a number, not 'high'"),
        ({"warmup": 0.0}, "warmup must be"),
        ({"warmup": 1.5}, "warmup must be"),
        ({"zero_phase": 1.0}, "zero_phase must be"),
        ({"kind": "linear", "zero_phase": 0.8}, r"zero_phase must be at most 1 - warmup \(0.75\)"),
        ({"kind": "cyclical", "zero_phase": 0.6}, r"zero_phase must be at most 1 - ramp \(0.5\)"),
        ({"num_cycles": 0}, "num_cycles must be"),
        ({"num_cycles": 2.5}, "num_cycles must be"),
        ({"ramp": -0.1}, "ramp must be"),
        ({"kind": "cosine", "beta": 0.5, "start": 0.6}, r"start must be from 0 to beta \(0.5\)"),
    ],
)
def test_wrong_fields_are_named(arguments, message):
    with pytest.raises(InputError, match=message):
        KLSchedule(**arguments)
