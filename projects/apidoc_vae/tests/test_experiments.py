"""What the experiment is said to reach, on the real data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from projects.apidoc_vae.recipe import APIDocsRecipe


@pytest.mark.slow
def test_the_latents_are_used_and_tell_of_the_texts(tmp_path):
    if APIDocsRecipe().problem("") is not None:
        pytest.skip(f"needs {APIDocsRecipe().command()}")
    command = [sys.executable, "-W", "ignore", "-c", "from mmkit.cli.run import main; main()", "+experiment=apidoc_vae"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    (run,) = tmp_path.glob("outputs/apidoc_vae/*")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = {name: value for row in rows for name, value in row.items() if name.startswith("test/")}
    print(found)
    assert found["test/accuracy"] >= 0.5
    assert found["test/q_z_given_x_active_units"] >= 100
    assert found["test/texts/different"] >= 0.9
    assert (run / "texts.txt").read_text().count("\n") > 200
