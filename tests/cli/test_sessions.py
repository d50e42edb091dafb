"""Every command, typed in a terminal of 80 columns, in a new project."""

import re
import sys
from pathlib import Path

import pytest

from mmkit.cli.main import COMMANDS
from tests.cli.terminal import run_in_terminal


BIN = Path(sys.executable).parent
TRAIN = "mmkit_run experiment=first trainer.max_epochs=1 trainer.limit_train_batches=3 dataloader.train.batch_size=8"

# What is typed, its exit code, and what its screen must show; one after another in the same folder.
SESSION = [
    ("mmkit --help", 0, r"Commands that are not runs"),
    ("mmkit new mine", 0, r"mmkit_run experiment=first"),
    ("mmkit new mine", 2, r"mine"),
    ("mmkit_run", 2, r"first +Pictures of coloured shapes"),
    ("mmkit_run experiment=first --help", 0, r"experiment_name: first"),
    ("mmkit_run experiment=first seed=zero", 2, r"MM301 seed=zero: 'zero' is not an integer"),
    ("mmkit plan first", 0, r"memory at most"),
    (
        "mmkit plan first task.encoders.rgb.embed_dim=96 task.encoders.text.width=64",
        2,
        r"task.encoders.text.width=64 does not match",
    ),
    ("mmkit list", 0, r"modules/encoders"),
    ("mmkit list datasets", 0, r"Shapes +Pictures"),
    ("mmkit list dataset", 2, r"Did you mean datasets\?"),
    ("mmkit show datasets/Shapes", 0, r"views +int +1"),
    ("mmkit docs task.loss.l2_normalize", 0, r"Divide every embedding"),
    ("mmkit docs trainer.max_step", 2, r"trainer.max_steps"),
    ("mmkit data list", 0, r"emoji"),
    ("mmkit data peek first -k 2", 0, r"uint8 picture"),
    (f"{TRAIN} exp_manager.version=one", 0, r"Run directory +outputs/first/one"),
    ("mmkit runs ls", 0, r"first/one +finished +3"),
    ("mmkit runs show one", 0, r"step-000003"),
    ("mmkit runs compare one one", 0, r"The same: configuration"),
    ("mmkit ckpt verify outputs/first/one", 0, r"step-000003: good"),
    ("mmkit inspect outputs/first/one/first.mmkit", 0, r"ContrastivePretraining"),
    ("mmkit runs resume outputs/first/one", 2, r"resume_past_end"),
    ("mmkit verify resume first --steps 2 trainer.limit_train_batches=3", 0, r"IDENTICAL"),
    ("mmkit runs rm one --yes", 0, r"deleted"),
    ("mmkit runs ls", 0, r"."),
]


@pytest.mark.slow
def test_a_session_with_every_command(tmp_path):
    assert [name for name in COMMANDS if not any(typed.startswith(f"mmkit {name}") for typed, _, _ in SESSION)] == []
    for typed, code, pattern in SESSION:
        program, *arguments = typed.split()
        shown = run_in_terminal([BIN / program, *arguments], tmp_path, {"MMKIT_DATA": "cache", "OMP_NUM_THREADS": "1"})
        assert shown.code == code, f"$ {typed}\n{shown.screen}"
        assert re.search(pattern, " ".join(shown.screen.split())), f"$ {typed}\n{shown.screen}"
        assert "Traceback" not in shown.screen, f"$ {typed}\n{shown.screen}"
