"""What a person sees of a training: on a terminal, in a file, and of several ranks."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.terminal import run_in_terminal


MMKIT_RUN = Path(sys.executable).with_name("mmkit_run")
STATUS = re.compile(r"epoch \d+/60 (━+ )?step \d+/180(  .*)?$")


@pytest.mark.slow
def test_a_resized_terminal_has_one_status_line_at_the_bottom_and_none_at_the_end(project):
    widths = [80, 50, 100, 30, 70]
    shown = run_in_terminal(
        [MMKIT_RUN, "experiment=first", "trainer.max_epochs=60", "trainer.log_every_n_steps=2"],
        project,
        resize=lambda seconds: widths[int(2 * seconds) % len(widths)],
    )
    assert shown.code == 0, shown.screen
    drawn = [[line for line in screen.splitlines() if "step " in line and "/180" in line] for screen in shown.screens]
    assert sum(map(bool, drawn)) > 5
    assert all(len(lines) <= 2 for lines in drawn)  # one is left over if the terminal is resized while it is being drawn
    whole = [line for lines in drawn for line in lines if STATUS.fullmatch(line)]
    assert len(whole) > 0.8 * sum(map(len, drawn))  # others were being drawn, or the terminal is narrower than all of it
    assert "mmkit runs show outputs/first/" in shown.screen.replace("\n", "")


@pytest.mark.slow
def test_of_two_ranks_only_the_first_speaks(project):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [MMKIT_RUN, "experiment=first", "trainer.devices=2", "trainer.strategy=ddp", "exp_manager.create_csv_logger=true"]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"^epoch 1/2 ", done.stdout, re.MULTILINE)) == 1
    assert done.stdout.count("Run directory") == 1
    assert "rank-1" not in done.stdout + done.stderr
    assert "GLOBAL_RANK" not in done.stdout + done.stderr
