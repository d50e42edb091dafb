import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from mmkit.errors import InterruptedByUserError, NonFiniteError, StoppedError, UsageError
from mmkit.experiment.duration import parse_duration
from mmkit.experiment.stops import StopReason, Stops, early_stop_signals


HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@pytest.fixture
def stops():
    stops = Stops()
    stops.install()
    yield stops
    stops.restore()


def start(program, *arguments, **settings):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, str(HERE / program), *map(str, arguments)],
        env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **settings,
    )  # fmt: skip


def wait_for(process, line):
    for read in process.stdout:
        if read == f"{line}\n":
            return
    raise AssertionError(process.stderr.read())


def start_ready(what):
    process = start("stopped_process.py", what)
    wait_for(process, "ready")
    return process


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT"])
def test_a_signal_is_remembered_until_it_is_asked_for(stops, name):
    assert stops.agreed() is None
    os.kill(os.getpid(), getattr(signal, name))
    assert stops.agreed() is StopReason[name]
    assert stops.agreed() is StopReason[name]
    error = stops.error("/runs/1/checkpoints/step-000005")
    assert type(error) is (InterruptedByUserError if name == "SIGINT" else StoppedError)
    assert error.exit_code == (130 if name == "SIGINT" else 75)
    assert error.reason == name
    assert "saved to /runs/1/checkpoints/step-000005" in str(error)


def test_the_second_ctrl_c_does_not_wait(stops, capfd):
    os.kill(os.getpid(), signal.SIGINT)
    assert "stopping at the next batch boundary; again to stop at once" in capfd.readouterr().err
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_counts_more_than_sigterm_and_a_fault_more_than_both(stops):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    assert stops.agreed() is StopReason.SIGINT
    stops.request(StopReason.NON_FINITE, NonFiniteError("The loss is nan."))
    assert stops.agreed() is StopReason.NON_FINITE
    assert not StopReason.NON_FINITE.saves
    assert str(stops.error()) == "The loss is nan."


def test_handlers_are_given_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)}
    stops = Stops()
    stops.install()
    stops.install()
    assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
    stops.restore()
    stops.restore()
    assert {number: signal.getsignal(number) for number in before} == before


def test_outside_the_main_thread_only_signals_are_not_taken():
    before, reasons = signal.getsignal(signal.SIGTERM), []

    def work():
        stops = Stops(max_time=timedelta(microseconds=1))
        stops.install()
        with early_stop_signals():
            reasons.append(stops.agreed())
        stops.restore()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert reasons == [StopReason.MAX_TIME]
    assert signal.getsignal(signal.SIGTERM) == before


def test_time_runs_out():
    stops = Stops(max_time=timedelta(seconds=0.05))
    assert stops.agreed() is None
    time.sleep(0.06)
    assert stops.agreed() is StopReason.MAX_TIME
    assert (stops.error().exit_code, stops.error().reason) == (75, "max_time_per_run")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("00:12:00:00", 12 * 3600),
        ("1:12:00:00", 36 * 3600),
        ("1-12:00:00", 36 * 3600),
        ("01:30:00", 5400),
        ("90m", 5400),
        ("1h30m", 5400),
        ("PT1H30M", 5400),
        ("P1DT1S", 86401),
        (timedelta(minutes=2), 120),
        ({"hours": 1, "minutes": 1}, 3660),
    ],
    ids=str,
)
def test_durations_are_read(value, seconds):
    assert parse_duration(value) == timedelta(seconds=seconds)


@pytest.mark.parametrize("value", ["", "soon", "12:00", "1:2:3", "90", 43200, "0s", "00:00:00", "-1h", {"lunches": 1}], ids=str)
def test_other_durations_are_refused(value):
    with pytest.raises(UsageError, match=r"max_time_per_run=.*: it is a duration longer than nothing, written DD:HH:MM:SS"):
        Stops(max_time=value)


def test_a_number_is_explained():
    with pytest.raises(UsageError, match="YAML reads an unquoted 12:00:00 as a number: put it in quotes"):
        parse_duration(43200)  # pyright: ignore[reportArgumentType]


def test_asking_costs_less_than_a_few_microseconds():
    stops = Stops(max_time="1h")
    started = time.process_time()
    for _ in range(20_000):
        stops.agreed()
    cost = (time.process_time() - started) / 20_000
    print(f"Stops.agreed with one rank: {cost * 1e6:.2f} µs")
    assert cost < 20e-6


def test_before_training_a_signal_raises_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(StoppedError, match=r"Stopped by SIGTERM\. Nothing was lost: no step was trained\.") as caught,
        early_stop_signals(),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.reason == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_stop_that_a_library_swallowed_is_raised_at_the_end():
    def swallow():
        with early_stop_signals(), suppress(Exception):
            os.kill(os.getpid(), signal.SIGUSR1)

    with pytest.raises(StoppedError, match="SIGUSR1"):
        swallow()


def test_training_with_workers_stops_at_a_signal_to_all_its_processes():
    process = start_ready("train")
    for index, name in enumerate(["SIGTERM", "SIGUSR1", "SIGUSR2", "SIGINT"]):
        if index:
            wait_for(process, "ready")
        os.killpg(process.pid, getattr(signal, name))  # as a terminal and `timeout` do
        wait_for(process, f"InterruptedByUserError 130 {name}" if name == "SIGINT" else f"StoppedError 75 {name}")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "DataLoader worker" not in err
    wait_until_group_is_gone(process.pid)


def wait_until_group_is_gone(group):
    for _ in range(100):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a worker process is left")


def test_ctrl_c_twice_ends_a_batch_that_does_not_end():
    process = start_ready("wait")
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err.splitlines() == ["", "stopping at the next batch boundary; again to stop at once", "at once"]


def test_preparation_is_stopped_with_75():
    process = start_ready("prepare")
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (75, "")
    assert out == "swallowed\nStoppedError: Stopped by SIGTERM. Nothing was lost: no step was trained.\n"


def test_a_child_that_was_forked_in_training_still_ends_by_sigterm(stops):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(1)
    time.sleep(0.1)
    os.kill(child, signal.SIGUSR1)
    os.kill(child, signal.SIGINT)
    time.sleep(0.1)
    os.kill(child, signal.SIGTERM)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM
    assert stops.agreed() is None


def test_two_ranks_stop_at_the_same_step_for_the_same_reason(tmp_path):
    ranks = [start("stop_of_rank.py", rank, tmp_path) for rank in range(2)]
    errors = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], errors
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    for name in ("SIGUSR1", "SIGTERM"):
        assert first[name] == second[name]
        assert first[name][:3] == [5, name, "StoppedError"]
    assert first["max_time"] == second["max_time"]
    assert first["max_time"][1] == "MAX_TIME"
    assert second["fault"] == [5, "NON_FINITE", "NonFiniteError", "mine"]
    assert first["fault"][:3] == [5, "NON_FINITE", "NonFiniteError"]
    assert "Another rank found NaN or infinity" in first["fault"][3]
    assert (first["common_count"], second["common_count"]) == (3, 3)
    assert json.loads((tmp_path / "lost.json").read_text()) == "Another rank ended before this one; its log file says why."
    print(f"Stops.agreed with two ranks: {first['microseconds']:.0f} µs")
