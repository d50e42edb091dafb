"""kill -9 at random moments, inside of writes too: nothing becomes unreadable, nothing saved is lost, and the end is the same."""

import os
import random
import time
from pathlib import Path

import pytest

from mmkit.experiment.checkpoint import newest_good, verify
from tests.reliability.exact_run import RECORD, differences, in_child, kill, latest, train


KILLS = 100


def is_over(child):
    done, status = os.waitpid(child, os.WNOHANG)
    assert not done or status == 0, f"the run ended with {os.waitstatus_to_exitcode(status)}"
    return bool(done)


def writes(run_dir):
    """Names of what is being written, or was when the process was killed."""
    folder = run_dir / "checkpoints"
    return {path.name for path in folder.glob(".*")} if folder.is_dir() else set()


def killed(child, run_dir, moment, inside):
    """Kill the run after a number of seconds, or in the middle of that many writes; False if it ended before."""
    before, seen, started = writes(run_dir), set(), time.monotonic()
    while not is_over(child):
        now = writes(run_dir) - before
        seen |= now
        if (inside and now and len(seen) >= moment) or (not inside and time.monotonic() - started > moment):
            kill(child)
            return True
    return False


def run_with_kills(project, run_dir, chance, budget):
    """Kill and resume a run until it ends; returns how often it was killed, and how often inside a write."""
    kills = inside_a_write = 0
    while True:
        child = in_child(lambda: train(project, run_dir, RECORD))
        inside = chance.random() < 0.6
        if kills == budget:
            os.waitpid(child, 0)
            return kills, inside_a_write
        saved = latest(run_dir)
        if not killed(child, run_dir, chance.randint(1, 6) if inside else chance.uniform(0.1, 1.5), inside):
            return kills, inside_a_write
        kills += 1
        inside_a_write += bool(writes(run_dir))
        assert_nothing_is_lost(run_dir, saved)


def assert_nothing_is_lost(run_dir: Path, saved: int) -> None:
    folder = run_dir / "checkpoints"
    for path in folder.glob("step-*") if folder.is_dir() else []:
        verify(path)  # raises for what cannot be read
    assert latest(run_dir) >= saved
    if latest(run_dir):
        assert newest_good(folder) == folder / f"step-{latest(run_dir):06d}"


def test_run_that_is_killed_six_times_ends_as_if_nothing_had_happened(project, straight, tmp_path):
    kills, _ = run_with_kills(project, tmp_path / "run", random.Random(0), budget=6)
    assert kills >= 1
    assert differences(straight, tmp_path / "run") == []


@pytest.mark.slow
def test_a_hundred_kills(project, straight, tmp_path, capsys):
    chance, kills, inside, runs = random.Random(1), 0, 0, 0
    while kills < KILLS:
        run_dir = tmp_path / str(runs)
        more, more_inside = run_with_kills(project, run_dir, chance, budget=min(25, KILLS - kills))
        kills, inside, runs = kills + more, inside + more_inside, runs + 1
        assert differences(straight, run_dir) == []
    assert inside >= 30
    with capsys.disabled():
        print(f"\nkill -9: {kills} kills, {inside} inside a write; 0 unreadable, no saved step lost, {runs} ends identical")
