import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmkit.experiment.checkpoint import DirectoryCheckpointIO, list_checkpoints, newest_good


SCRIPT = Path(__file__).with_name("saving_process.py")


@pytest.fixture
def kill(tmp_path):
    """Start a process that saves into a directory, and kill it after a number of its log's lines and some time."""
    with subprocess.Popen([sys.executable, SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin
        assert parent.stdout

        def kill(directory, num_lines, seconds):
            log = Path(f"{directory}.log")
            log.unlink(missing_ok=True)
            parent.stdin.write(f"{directory}\n")
            parent.stdin.flush()
            child = int(parent.stdout.readline())
            while not log.exists() or len(log.read_text().splitlines()) < num_lines:
                time.sleep(0.0005)
            time.sleep(seconds)
            os.kill(child, signal.SIGKILL)
            assert parent.stdout.readline() == "gone\n"
            return log.read_text().splitlines()

        yield kill
        parent.stdin.close()


def _battery(directory, kill, num_kills, seed):
    """Kill a run again and again in one directory; return how many fell into a write, as what they left half done shows."""
    moments, inside, furthest = random.Random(seed), 0, 0
    for number in range(num_kills):
        lines = kill(directory, num_lines=moments.randrange(1, 5), seconds=moments.uniform(0, 0.025))
        assert "wrong content" not in lines
        inside += any(name.startswith(".") for name in os.listdir(directory)) if directory.exists() else 0
        saved = [int(line.split()[1]) for line in lines if line.startswith("saved")]
        furthest = max([furthest, *saved])
        checkpoints = list_checkpoints(directory, thorough=True)
        assert [info.problem for info in checkpoints if info.problem] == [], f"kill {number}"
        newest = newest_good(directory)
        if newest is None:
            assert not saved
            continue
        step = DirectoryCheckpointIO().load_checkpoint(newest)["global_step"]
        assert step >= furthest, f"kill {number}: step {furthest} was saved, and {newest} is gone on from"
        assert not [name for name in os.listdir(directory) if name.startswith(".")], f"kill {number}"
    assert len(checkpoints) <= 5
    return inside


def _report(capsys, num_kills, inside):
    with capsys.disabled():
        print(f"\nkills: {num_kills} tried, {inside} of them inside a write; 0 unreadable, 0 saved steps lost", end=" ")


def test_kill_costs_the_save_that_was_being_written_only(tmp_path, kill, capsys):
    inside = _battery(tmp_path / "checkpoints", kill, 20, seed=1)
    assert inside >= 3
    _report(capsys, 20, inside)


@pytest.mark.slow
def test_a_hundred_kills_cost_nothing_that_was_saved(tmp_path, kill, capsys):
    inside = _battery(tmp_path / "checkpoints", kill, 100, seed=2)
    assert inside >= 30
    _report(capsys, 100, inside)
