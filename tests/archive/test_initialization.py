import hashlib
import json
import logging

import pytest
import torch
from safetensors.torch import save_file

from mmkit.archive import build, init_from
from mmkit.errors import RefusedError, UsageError


@pytest.fixture
def other(config):
    """A task of the same kind with other weights."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        return build(config)


def write_checkpoint(task, folder):
    folder.mkdir()
    file = folder / "model.safetensors"
    save_file(task.state_dict(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    members = {"model.safetensors": {"size": file.stat().st_size, "digest": digest}}
    (folder / "manifest.json").write_text(json.dumps({"format": "mmkit-checkpoint", "hash": "sha256", "members": members}))
    return folder


def write_lightning(task, path):
    torch.save({"state_dict": task.state_dict(), "epoch": 1, "pytorch-lightning_version": "2.6.6"}, path)
    return path


def write_safetensors(task, path):
    save_file(task.state_dict(), path)
    return path


SOURCES = {
    "archive": lambda task, folder: task.save_to(folder / "a.mmkit"),
    "checkpoint": lambda task, folder: write_checkpoint(task, folder / "step-000001"),
    "lightning": lambda task, folder: write_lightning(task, folder / "last.ckpt"),
    "safetensors": lambda task, folder: write_safetensors(task, folder / "weights.safetensors"),
}


def same(first, second):
    return [name for name in first.state_dict() if torch.equal(first.state_dict()[name], second.state_dict()[name])]


@pytest.mark.parametrize("source", SOURCES)
def test_weights_of_every_source_are_loaded(task, other, tmp_path, source):
    report = init_from(task, str(SOURCES[source](other, tmp_path)))
    assert same(task, other) == list(task.state_dict())
    assert sorted(report.loaded) == sorted(task.state_dict())
    assert (report.missing, report.unexpected, report.left_out) == ([], [], [])


def test_source_can_be_named_by_its_kind(task, other, tmp_path, monkeypatch):
    archive, checkpoint = SOURCES["archive"](other, tmp_path), SOURCES["checkpoint"](other, tmp_path)
    monkeypatch.setenv("MMKIT_MODELS", str(tmp_path))
    for spec in ({"archive": str(archive)}, {"checkpoint": str(checkpoint)}, {"pretrained": "a"}, {"path": "a"}, "a"):
        assert init_from(task, spec).loaded


def test_include_and_exclude_choose_names(task, other, tmp_path, caplog):
    path = SOURCES["archive"](other, tmp_path)
    with caplog.at_level(logging.INFO):
        report = init_from(task, {"path": str(path), "include": ["model.encoders.*"], "exclude": "*.text.*"})
    expected = [name for name in task.state_dict() if name.startswith("model.encoders.rgb")]
    assert sorted(report.loaded) == sorted(expected)
    assert set(expected) <= set(same(task, other))
    assert "model.heads.rgb.1.weight" in report.left_out
    assert "model.heads.rgb.1.weight" not in same(task, other)
    assert f"init_from {path}: {len(expected)} tensors loaded" in caplog.text
    assert "left out (" in caplog.text


def test_missing_and_unexpected_are_reported(config, other, tmp_path):
    path = SOURCES["safetensors"](other, tmp_path)
    config["heads"]["text"] = {"_target_": "torch.nn.Linear", "in_features": 8, "out_features": 4}
    task = build(config)
    report = init_from(task, str(path))
    assert report.missing == ["model.heads.text.bias", "model.heads.text.weight"]
    assert [name for name in report.unexpected if not name.startswith("model.heads.text.layers.")] == []
    assert "missing (2): model.heads.text.bias, model.heads.text.weight" in str(report)
    with pytest.raises(RefusedError, match="With strict=true nothing may be missing"):
        init_from(task, {"path": str(path), "strict": True})


def test_other_shapes_are_refused_by_name_and_nothing_is_loaded(config, other, tmp_path):
    path = SOURCES["archive"](other, tmp_path)
    config["heads"]["text"]["hidden_dim"] = 5
    task = build(config)
    before = {name: value.clone() for name, value in task.state_dict().items()}
    with pytest.raises(RefusedError, match=r"model\.heads\.text\.layers\.0\.weight has the shape \(8, 8\), the task \(5, 8\)"):
        init_from(task, str(path))
    assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
    assert init_from(task, {"path": str(path), "exclude": ["model.heads.text.*"]}).loaded


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"archive": "a", "checkpoint": "b"}, "archive=a and checkpoint=b"),
        ({"path": "a", "pretrained": "b"}, "path=a and pretrained=b"),
        ({}, "it has none"),
        ({"archive": None}, "it has none"),
        ({"paht": "a"}, "'paht' is not among them"),
    ],
    ids=str,
)
def test_specification_names_one_source(task, spec, reason):
    with pytest.raises(UsageError, match=reason):
        init_from(task, spec)


def test_pattern_that_matches_nothing_is_an_error(task, other, tmp_path):
    path = str(SOURCES["safetensors"](other, tmp_path))
    with pytest.raises(UsageError, match=r"init_from\.include: 'encoder\.\*' matches no tensor"):
        init_from(task, {"path": path, "include": ["encoder.*"]})
    with pytest.raises(UsageError, match=r"init_from\.exclude: 'heads' matches no tensor"):
        init_from(task, {"path": path, "exclude": ["heads"]})
    with pytest.raises(UsageError, match="loads nothing"):
        init_from(task, {"path": path, "exclude": ["*"]})


def test_absent_and_damaged_sources_are_refused(task, other, tmp_path):
    with pytest.raises(RefusedError, match=r"'absent\.ckpt' is neither a file nor an available model"):
        init_from(task, "absent.ckpt")
    with pytest.raises(RefusedError, match=r"'absent\.ckpt' does not exist"):
        init_from(task, {"checkpoint": "absent.ckpt"})
    checkpoint = SOURCES["checkpoint"](other, tmp_path)
    data = bytearray((checkpoint / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (checkpoint / "model.safetensors").write_bytes(data)
    with pytest.raises(RefusedError, match=r"model\.safetensors is damaged"):
        init_from(task, str(checkpoint))
    (checkpoint / "manifest.json").unlink()
    with pytest.raises(RefusedError, match="is no checkpoint"):
        init_from(task, str(checkpoint))


class Evil:
    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    "content", [{"state_dict": {"a": Evil()}}, {"state_dict": {"a": 1}}, [1]], ids=["code", "numbers", "list"]
)
def test_files_of_torch_save_are_tensors_or_refused(task, tmp_path, content, capsys):
    torch.save(content, tmp_path / "evil.ckpt")
    with pytest.raises(RefusedError, match=r"evil\.ckpt"):
        init_from(task, str(tmp_path / "evil.ckpt"))
    assert "executed" not in capsys.readouterr().out


def test_checkpoints_can_be_read_by_a_function_of_the_callers(task, other, tmp_path):
    (tmp_path / "own").mkdir()
    report = init_from(task, str(tmp_path / "own"), read_directory=lambda path: other.state_dict())
    assert len(report.loaded) == len(task.state_dict())
