"""What the experiment is said to reach, on the real data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from projects.molmim.recipe import MosesRecipe


@pytest.mark.slow
def test_molecules_come_back_and_samples_are_molecules(tmp_path):
    if MosesRecipe().problem("") is not None:
        pytest.skip(f"needs {MosesRecipe().command()}")
    command = [sys.executable, "-W", "ignore", "-c", "from mmkit.cli.run import main; main()", "+experiment=molmim"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (run,) = tmp_path.glob("outputs/molmim/*")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = {name: value for row in rows for name, value in row.items() if name.startswith("test/molecules/")}
    print(found)
    assert found["test/molecules/reconstruction"] >= 0.45
    assert found["test/molecules/validity"] >= 0.25
    assert found["test/molecules/uniqueness"] >= 0.95
    assert found["test/molecules/novelty"] >= 0.95
    assert (run / "interpolation.png").is_file()
