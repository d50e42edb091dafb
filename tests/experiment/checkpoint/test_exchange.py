import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmkit.errors import RefusedError, UsageError
from mmkit.experiment.checkpoint import DirectoryCheckpointIO, verify
from mmkit.experiment.checkpoint.exchange import export_weights, import_weights


@pytest.fixture
def checkpoint(tmp_path, content):
    """A checkpoint with the tied weights ``task.embed`` and ``task.head``, and ``ema.bias``."""
    weights = content(3)["state_dict"]
    named = {"task.embed": weights["embed"], "ema.bias": weights["bias"], "task.head": weights["head"]}
    io = DirectoryCheckpointIO("seed: 1\n", asynchronous=False)
    io.save_checkpoint(content(3, score=0.5) | {"state_dict": named}, tmp_path / "run" / "step-000003")
    return tmp_path / "run" / "step-000003"


def test_weights_go_out_and_come_back_bit_by_bit(tmp_path, checkpoint, assert_same):
    assert export_weights(checkpoint, tmp_path / "w.safetensors") == (3, [])
    assert import_weights(checkpoint, tmp_path / "w.safetensors", tmp_path / "new") == 3
    before, after = (DirectoryCheckpointIO().load_checkpoint(path) for path in (checkpoint, tmp_path / "new"))
    assert_same(before, after)
    assert after["state_dict"]["task.embed"] is after["state_dict"]["task.head"]
    assert (tmp_path / "new" / "config.yaml").read_text() == "seed: 1\n"
    assert verify(tmp_path / "new").score is None  # it was measured with other weights


def test_a_prefix_is_left_away_and_put_back(tmp_path, checkpoint):
    export_weights(checkpoint, tmp_path / "w.safetensors", prefix="task.")
    tensors = load_file(tmp_path / "w.safetensors")
    assert list(tensors) == ["embed"]  # of the two that are tied, one is stored
    save_file({"embed": tensors["embed"] + 1}, tmp_path / "changed.safetensors")
    assert import_weights(checkpoint, tmp_path / "changed.safetensors", tmp_path / "new", prefix="task.") == 2
    before, after = (DirectoryCheckpointIO().load_checkpoint(path)["state_dict"] for path in (checkpoint, tmp_path / "new"))
    assert torch.equal(after["task.embed"], before["task.embed"] + 1)
    assert after["task.head"] is after["task.embed"]
    assert torch.equal(after["ema.bias"], before["ema.bias"])


def test_an_import_does_not_become_the_latest(tmp_path, checkpoint):
    export_weights(checkpoint, tmp_path / "w.safetensors")
    import_weights(checkpoint, tmp_path / "w.safetensors", checkpoint.parent / "imported")
    assert (checkpoint.parent / "LATEST").read_text() == "step-000003\n"


def test_what_the_format_does_not_hold_is_left_out_and_named(tmp_path, content):
    io = DirectoryCheckpointIO(asynchronous=False)
    io.save_checkpoint({"state_dict": {"a": torch.ones(1), "_extra_state": {"version": 1}}}, tmp_path / "saved")
    assert export_weights(tmp_path / "saved", tmp_path / "w.safetensors") == (1, ["_extra_state"])
    assert import_weights(tmp_path / "saved", tmp_path / "w.safetensors", tmp_path / "new") == 1
    assert io.load_checkpoint(tmp_path / "new")["state_dict"]["_extra_state"] == {"version": 1}


def test_a_prefix_that_no_weight_has_is_a_mistake(tmp_path, checkpoint):
    with pytest.raises(UsageError, match=r"--prefix model.: no weight of .* They begin with ema, task"):
        export_weights(checkpoint, tmp_path / "w.safetensors", prefix="model.")
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({"task.embed": torch.zeros(4, 3)}, "ema.bias is missing"),
        ({"task.embed": torch.zeros(4, 3), "ema.bias": torch.zeros(3), "x": torch.zeros(1)}, "x is not in the checkpoint"),
        (
            {"task.embed": torch.zeros(3, 4), "ema.bias": torch.zeros(3)},
            r"task.embed is torch.float32 of shape \(3, 4\) instead of .*\(4, 3\)",
        ),
        ({"task.embed": torch.zeros(4, 3), "ema.bias": torch.zeros(3).half()}, "ema.bias is torch.float16 of shape"),
    ],
)
def test_weights_that_do_not_fit_are_refused(tmp_path, checkpoint, tensors, says):
    save_file(tensors, tmp_path / "w.safetensors")
    with pytest.raises(RefusedError, match=says):
        import_weights(checkpoint, tmp_path / "w.safetensors", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_something_else_is_refused(tmp_path, checkpoint):
    (tmp_path / "w.safetensors").write_bytes(b"text")
    for file in ("w.safetensors", "missing.safetensors"):
        with pytest.raises(RefusedError, match=f"{file}: it is not a readable safetensors file"):
            import_weights(checkpoint, tmp_path / file, tmp_path / "new")


def test_an_import_replaces_nothing(tmp_path, checkpoint):
    export_weights(checkpoint, tmp_path / "w.safetensors")
    with pytest.raises(UsageError, match="exists already"):
        import_weights(checkpoint, tmp_path / "w.safetensors", checkpoint)
    with pytest.raises(UsageError, match="the checkpoint is of step 3; call it step-000003"):
        import_weights(checkpoint, tmp_path / "w.safetensors", tmp_path / "step-000004")


def test_an_export_that_fails_leaves_what_was_there(tmp_path, checkpoint, monkeypatch):
    (tmp_path / "w.safetensors").write_text("before")
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        export_weights(checkpoint, tmp_path / "w.safetensors")
    assert (tmp_path / "w.safetensors").read_text() == "before"
    assert not list(tmp_path.glob(".w*"))
