import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from mmkit.archive import build, open_archive
from mmkit.cli.main import run
from tests.archive.conftest import CONFIG
from tests.archive.crafting import GOOD_CONFIG
from tests.archive.crafting import archive as crafted


@pytest.fixture
def archive(tmp_path):
    with torch.random.fork_rng():
        return build(CONFIG).save_to(tmp_path / "clip.mmkit", provenance={"run": "first"})


def test_archive_is_shown(archive, capsys):
    assert run(["inspect", str(archive)]) == 0
    shown = capsys.readouterr().out
    for text in (
        f"archive  {archive}",
        "run: first",
        "class: mmkit.tasks.contrastive_pretraining.ContrastivePretraining",
        "torch.nn.modules.normalization.LayerNorm  (heads.rgb.norm)",
        "F32",
        "weights.safetensors",
    ):
        assert text in shown


def test_json_has_sizes_digests_targets_and_artifacts(archive, capsys):
    assert run(["inspect", "--json", str(archive)]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["targets"]["torch.optim.adamw.AdamW"] == ["optimizer"]
    assert set(facts["members"]) == {"config.yaml", "weights.safetensors"}
    assert facts["artifacts"] == {}
    assert facts["problems"] == []
    with torch.random.fork_rng():
        assert facts["tensors"]["number"] == len(build(CONFIG).state_dict())


def test_nothing_heavy_is_imported(archive):
    code = f"import sys; from mmkit.cli.main import run; assert run(['inspect', {str(archive)!r}]) == 0; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"torch", "lightning", "hydra", "omegaconf"} & set(output.split())


def test_damaged_archive_ends_with_3(archive, capsys):
    archive.write_bytes(archive.read_bytes()[:-3000])
    assert run(["inspect", str(archive)]) == 3
    assert f"mmkit: {archive}: It is cut off" in capsys.readouterr().err


def test_absent_file_ends_with_3(tmp_path, capsys):
    assert run(["inspect", str(tmp_path / "absent.mmkit")]) == 3
    assert "cannot be opened: No such file" in capsys.readouterr().err


def test_archive_that_names_places_is_shown_and_ends_with_3(tmp_path, capsys):
    encoder = {"_target_": "mmkit.modules.encoders.IdentityEncoder", "modality": "rgb"}
    task = build({**CONFIG, "encoders": {"rgb": encoder}, "heads": None, "evaluation_tasks": None})
    task.config = {**task.config, "modality_module_mapping": {"rgb": {"head_key": "/data"}}}
    assert run(["inspect", str(task.save_to(tmp_path / "a.mmkit"))]) == 3
    out, err = capsys.readouterr()
    assert "weights.safetensors" in out
    assert "modality_module_mapping.rgb.head_key: '/data' is a place on this machine" in err


def test_control_characters_in_a_file_do_not_reach_the_terminal(archive, capsys):
    with open_archive(archive) as opened:
        weights = opened.read("weights.safetensors")
    path = archive.with_name("evil.mmkit")
    path.write_bytes(crafted(GOOD_CONFIG, weights, provenance={"run": "\x1b]0;title\x07\u202e"}))
    assert run(["inspect", str(path)]) == 0
    assert r"run: \x1b]0;title\x07\u202e" in capsys.readouterr().out
    path.write_bytes(crafted({**GOOD_CONFIG, "a\u202eb": {"_target_": "x"}}, weights))
    assert run(["inspect", str(path)]) == 3
    assert r"a\u202eb: the target 'x' is no dotted name" in capsys.readouterr().err


@pytest.fixture
def checkpoint(tmp_path):
    pytest.importorskip("mmkit.experiment.checkpoint")
    from mmkit.experiment.checkpoint import DirectoryCheckpointIO

    state = {"state_dict": nn.Linear(2, 2).state_dict(), "epoch": 0, "global_step": 3, "mmkit_state": {"step": 3, "epoch": 0}}
    writer = DirectoryCheckpointIO(config_yaml="task:\n  _target_: my_project.Task\n", asynchronous=False)
    writer.save_checkpoint(state, tmp_path / "step-000003")
    return tmp_path / "step-000003"


def test_checkpoint_is_shown(checkpoint, capsys):
    assert run(["inspect", str(checkpoint)]) == 0
    shown = capsys.readouterr().out
    assert "step: 3" in shown
    assert "my_project.Task  (task)" in shown
    assert "model.safetensors" in shown


def test_damaged_checkpoint_ends_with_3(checkpoint, capsys):
    file = checkpoint / "model.safetensors"
    file.chmod(0o644)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    assert run(["inspect", str(checkpoint)]) == 3
    assert "model.safetensors is damaged" in capsys.readouterr().err


def test_folder_that_is_no_checkpoint_ends_with_3(tmp_path, capsys):
    assert run(["inspect", str(tmp_path)]) == 3
    assert "is no checkpoint" in capsys.readouterr().err
