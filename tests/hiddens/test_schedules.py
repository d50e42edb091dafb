"""Weights of hidden losses by the step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.hiddens.schedules import make_schedule


def test_a_number_is_the_same_at_every_step():
    assert [make_schedule(0.25)(step) for step in (0, 7, 10**9)] == [0.25] * 3
    assert make_schedule({"schedule": "constant", "value": 2})(5) == 2


def test_a_warm_up_rises_in_equal_steps_and_stays():
    schedule = make_schedule({"schedule": "linear_warmup", "value": 3.0, "warmup_steps": 4, "start": 1.0})
    assert [schedule(step) for step in (0, 1, 2, 3, 4, 5, 1000)] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0]


def test_a_cyclical_schedule_is_that_of_the_paper():
    schedule = make_schedule({"schedule": "cyclical", "value": 1.0, "total_steps": 40, "num_cycles": 4, "ratio": 0.5})

    def of_paper(t, T=40, M=4, R=0.5):  # Fu et al. 2019, eq. 6 and 7, with t counted from 1
        tau = ((t - 1) % -(-T // M)) / (T / M)
        return tau / R if tau <= R else 1

    assert [schedule(step) for step in range(40)] == pytest.approx([of_paper(step + 1) for step in range(40)])
    assert schedule(40) == schedule(100) == 1.0


@given(st.integers(1, 50), st.integers(1, 7), st.floats(0.05, 1), st.floats(-2, 2), st.floats(-2, 2))
def test_a_cyclical_schedule_stays_between_start_and_value_and_begins_cycles_at_start(length, cycles, ratio, start, value):
    arguments = {"total_steps": length * cycles, "num_cycles": cycles, "ratio": ratio, "start": start, "value": value}
    schedule = make_schedule({"schedule": "cyclical", **arguments})
    low, high = sorted((start, value))
    assert all(low - 1e-12 <= schedule(step) <= high + 1e-12 for step in range(length * cycles + 3))
    assert [schedule(cycle * length) for cycle in range(cycles)] == [start] * cycles


WARMUP = {"schedule": "linear_warmup", "value": 1.0, "warmup_steps": 4}
CYCLICAL = {"schedule": "cyclical", "value": 1.0, "total_steps": 8}


@pytest.mark.parametrize(
    ("weight", "kind", "message"),
    [
        pytest.param(
            {"schedule": "cyclic", "value": 1}, KeyError, "schedule='cyclic' is unknown. Did you mean 'cyclical'?", id="name"
        ),
        pytest.param({"value": 1.0}, KeyError, "names no schedule. Schedules: constant, linear_warmup, cyclical.", id="no-name"),
        pytest.param({"schedule": "cyclical", "value": 1}, TypeError, "cyclical needs total_steps.", id="missing-argument"),
        pytest.param(
            {**WARMUP, "warmup": 3}, TypeError, "takes no 'warmup'. Did you mean 'warmup_steps'?", id="unknown-argument"
        ),
        pytest.param(
            {**WARMUP, "warmup_steps": 0}, ValueError, "warmup_steps=0 must be an integer of at least 1.", id="no-steps"
        ),
        pytest.param({**WARMUP, "warmup_steps": 2.5}, ValueError, "warmup_steps=2.5 must be an integer", id="half-a-step"),
        pytest.param({**CYCLICAL, "num_cycles": 9}, ValueError, "total_steps=8 must be an integer of at least 9.", id="cycles"),
        pytest.param({**CYCLICAL, "ratio": 0.0}, ValueError, "ratio=0.0 of a cyclical schedule must be above 0", id="ratio"),
        pytest.param({**WARMUP, "value": "1"}, TypeError, "loss_weight.value='1': it is a finite number.", id="text"),
        pytest.param(float("inf"), TypeError, "loss_weight=inf: it is a finite number, or a schedule.", id="infinite"),
        pytest.param(True, TypeError, "loss_weight=True: it is a finite number, or a schedule.", id="bool"),
        pytest.param(None, TypeError, "loss_weight=None: it is a finite number, or a schedule.", id="none"),
    ],
)
def test_mistakes_are_told(weight, kind, message):
    with pytest.raises(kind) as caught:
        make_schedule(weight)
    assert message in str(caught.value)
