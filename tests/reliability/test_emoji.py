"""The shipped experiment on real pictures: killed and resumed it ends the same, and its archive reproduces its numbers."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from mmkit.datasets.preparation import prepare
from mmkit.experiment.checkpoint import DirectoryCheckpointIO, verify
from mmkit.experiment.checkpoint.manifest import WEIGHTS
from mmkit.experiment.comparison import different_states
from projects.emoji_clip.recipe import EmojiRecipe
from tests.reliability.exact_run import latest, mmkit_run


pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
STEPS = 40
SHORT = (
    f"trainer.max_steps={STEPS}",
    "trainer.val_check_interval=20",
    "trainer.enable_progress_bar=false",
    "exp_manager.checkpoint_callback_params.every_n_train_steps=5",
)

RESTORED = """
import hashlib, json, sys, mmkit
import projects.emoji_clip.configs
task = mmkit.from_pretrained(sys.argv[1])
digests = {name: hashlib.sha256(value.contiguous().numpy().tobytes()) for name, value in task.state_dict().items()}
print(json.dumps({name: digest.hexdigest() for name, digest in digests.items()}))
"""


@pytest.fixture(scope="module")
def variables(request):
    """Environment of commands that read a data folder of the tests' own, with the part that needs no download prepared."""
    folder = request.config.cache.mkdir("mmkit-data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MMKIT_DATA", str(folder))
        prepare(EmojiRecipe(), "pypi", console=Console(quiet=True))
    return {"MMKIT_DATA": str(folder), "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def start(variables, tmp_path_factory):
    root = tmp_path_factory.mktemp("emoji")

    def start(*arguments, command="mmkit_run"):
        return mmkit_run(root, *arguments, command=command, variables=variables)

    return start


def finished(process):
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error[-4000:]


@pytest.fixture(scope="module")
def straight(start, tmp_path_factory):
    """The run without a break."""
    run_dir = tmp_path_factory.mktemp("straight") / "run"
    finished(start("experiment=emoji_clip", f"exp_manager.explicit_log_dir={run_dir}", *SHORT))
    return run_dir


def last(run_dir):
    return run_dir / "checkpoints" / f"step-{STEPS:06d}"


def scores(run_dir):
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return {key: value for line in lines for key, value in line.items() if key.startswith("test/")}


def test_run_that_is_killed_and_resumed_ends_the_same(start, straight, tmp_path):
    run_dir = tmp_path / "run"
    process = start("experiment=emoji_clip", f"exp_manager.explicit_log_dir={run_dir}", *SHORT)
    while latest(run_dir) < 10:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert 10 <= latest(run_dir) < STEPS
    finished(start("runs", "resume", str(run_dir), command="mmkit"))
    assert verify(last(run_dir)).members[WEIGHTS] == verify(last(straight)).members[WEIGHTS]
    assert different_states(last(straight), last(run_dir)) == []
    assert scores(run_dir) == scores(straight)


def test_archive_reproduces_its_retrieval_exactly_in_a_new_process(start, straight, tmp_path):
    expected = scores(straight)
    assert {f"test/retrieval/{way}_R@10" for way in ("text_to_rgb", "rgb_to_text")} <= set(expected)
    run_dir = tmp_path / "evaluation"
    source = (f"init_from={straight / 'emoji_clip.mmkit'}", f"exp_manager.explicit_log_dir={run_dir}", *SHORT)
    finished(start("experiment=emoji_clip", "job_type=eval", *source))
    assert scores(run_dir) == expected


def test_archive_is_restored_in_a_new_process_bit_by_bit(variables, straight, tmp_path):
    command = [sys.executable, "-W", "ignore", "-c", RESTORED, str(straight / "emoji_clip.mmkit")]
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    restored = json.loads(done.stdout.splitlines()[-1])
    weights = DirectoryCheckpointIO().load_checkpoint(last(straight))["state_dict"]
    assert restored == {name: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest() for name, value in weights.items()}
