"""What the experiments are said to reach."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def test_metrics(tmp_path):
    """Runs an experiment and gives what it logged of the test split, by name."""

    def run(experiment, *overrides):
        command = [sys.executable, "-W", "ignore", "-c", "from mmkit.cli.run import main; main()"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
        arguments = [f"+experiment={experiment}", f"exp_manager.version={len(list(tmp_path.glob('outputs/*/*')))}", *overrides]
        done = subprocess.run([*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        newest = max(tmp_path.glob("outputs/*/*/metrics.jsonl"), key=lambda path: path.stat().st_mtime)
        rows = [json.loads(line) for line in newest.read_text().splitlines()]
        return {name: value for row in rows for name, value in row.items() if name.startswith("test/")}

    return run


@pytest.mark.slow
def test_recall_needs_both_the_moving_average_and_attention(test_metrics):
    accuracy = {
        part: test_metrics("mega_recall", f"task.model.without={part}")["test/accuracy"] for part in ("null", "ema", "attention")
    }
    print(accuracy)
    assert accuracy["null"] >= 0.95
    assert accuracy["ema"] < 0.8
    assert accuracy["attention"] < 0.8
