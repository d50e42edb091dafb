from types import SimpleNamespace

import pytest

from mmkit.trainer.pace import Pace, total_steps


def test_speed_is_that_of_the_last_seconds_without_pauses():
    pace = Pace()
    for now in range(100):  # two samples a second, then ten, with an hour of validation between
        pace.num_samples += 2 if now < 50 else 10
        pace.mark(float(now) + 3600 * (now >= 95), now)
        if now == 94:  # within the seconds that count
            pace.pause(94.0)
            pace.go_on(3694.0)
    assert pace.samples_per_second() == 10


def test_time_left_counts_pauses_for_they_will_come_again():
    pace = Pace()
    pace.mark(0.0, 10)
    pace.pause(1.0)
    pace.go_on(9.0)
    assert pace.seconds_left(10.0, 20, 40) == 20.0
    assert pace.seconds_left(10.0, 20, None) is None


def test_nothing_is_known_before_the_second_mark():
    pace = Pace()
    assert (pace.samples_per_second(), pace.seconds_left(0.0, 0, 10)) == (None, None)
    pace.mark(1.0, 1)
    assert (pace.samples_per_second(), pace.seconds_left(1.0, 1, 10)) == (None, None)


@pytest.mark.parametrize(
    ("steps", "epochs", "batches", "accumulated", "total"),
    [
        pytest.param(-1, 3, 10, 1, 30, id="epochs"),
        pytest.param(25, 3, 10, 1, 25, id="steps-first"),
        pytest.param(50, 3, 10, 1, 30, id="epochs-first"),
        pytest.param(-1, 3, 10, 4, 9, id="accumulated"),
        pytest.param(-1, -1, 10, 1, None, id="endless"),
        pytest.param(-1, 3, float("inf"), 1, None, id="stream"),
        pytest.param(7, -1, float("inf"), 1, 7, id="steps-of-a-stream"),
    ],
)
def test_total_steps(steps, epochs, batches, accumulated, total):
    trainer = SimpleNamespace(
        max_steps=steps, max_epochs=epochs, num_training_batches=batches, accumulate_grad_batches=accumulated
    )
    assert total_steps(trainer) == total
