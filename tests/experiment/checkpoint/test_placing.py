import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmkit.experiment.checkpoint import list_checkpoints, newest_good, verify
from mmkit.experiment.checkpoint.placing import latest_name, original_name, placed, remove_orphans, temporary


def _of_dead_process(path):
    """The temporary name as a process had it that is gone."""
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True)
    return path.with_name(path.name.replace(f"~{os.getpid()}~", f"~{int(done.stdout)}~"))


def test_nothing_is_there_until_everything_is(tmp_path):
    with placed(tmp_path / "x") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "x").exists()
        assert folder.parent == tmp_path
    assert (tmp_path / "x" / "a").read_text() == "1"
    assert os.listdir(tmp_path) == ["x"]


def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path):
    with placed(tmp_path / "x") as folder:
        (folder / "a").write_text("old")

    def fail():
        with placed(tmp_path / "x") as folder:
            (folder / "a").write_text("new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "x" / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]


def test_a_successor_takes_the_place(tmp_path):
    for text in ("old", "new"):
        with placed(tmp_path / "x") as folder:
            (folder / "a").write_text(text)
    assert (tmp_path / "x" / "a").read_text() == "new"
    assert os.listdir(tmp_path) == ["x"]


def test_what_dead_processes_left_is_removed_at_the_next_save(tmp_path, save):
    save(tmp_path, 1)
    for kind in ("writing", "deleting"):
        left = _of_dead_process(temporary(tmp_path, kind, "step-000009"))
        left.mkdir()
        (left / "model.safetensors").write_text("half")
    save(tmp_path, 2)
    assert sorted(os.listdir(tmp_path)) == ["LATEST", "step-000001", "step-000002"]


def test_what_dead_processes_left_is_removed_when_a_run_goes_on(tmp_path, save):
    path = save(tmp_path, 1)
    _of_dead_process(temporary(tmp_path, "writing", "LATEST")).touch()
    assert newest_good(tmp_path) == path
    assert sorted(os.listdir(tmp_path)) == ["LATEST", "step-000001"]


def test_what_a_live_process_writes_stays(tmp_path):
    folder = temporary(tmp_path, "writing", "step-000001")
    folder.mkdir()
    remove_orphans(tmp_path)
    assert folder.is_dir()


def test_a_process_with_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path):
    folder = temporary(tmp_path, "writing", "step-000001")
    start = folder.name.split("~")[4]
    other = folder.with_name(folder.name.replace(f"~{start}~", f"~{int(start) - 1}~"))
    other.mkdir()
    remove_orphans(tmp_path)
    assert not other.exists()


def test_what_another_machine_writes_stays_for_a_day(tmp_path):
    folder = temporary(tmp_path, "writing", "step-000001")
    host = folder.name.split("~")[1]
    other = folder.with_name(folder.name.replace(f"~{host}~", "~0th3rh05~"))
    other.mkdir()
    remove_orphans(tmp_path)
    assert other.exists()
    yesterday = time.time() - 25 * 3600
    os.utime(other, (yesterday, yesterday))
    remove_orphans(tmp_path)
    assert not other.exists()


def test_a_checkpoint_that_was_about_to_be_replaced_is_found_and_put_back(tmp_path, save):
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    aside = _of_dead_process(temporary(tmp_path, "replaced", path.name))
    path.rename(aside)  # the process was killed between the two renames
    assert original_name(aside.name) == "step-000002"
    latest, _ = list_checkpoints(tmp_path)
    assert (latest.path, latest.is_latest, latest.problem) == (aside, True, None)
    assert newest_good(tmp_path) == path
    assert verify(path).step == 2


def test_a_checkpoint_that_another_machine_was_about_to_replace_is_used_where_it_lies(tmp_path, save):
    path = save(tmp_path, 2)
    aside = temporary(tmp_path, "replaced", path.name)
    host = aside.name.split("~")[1]
    aside = aside.with_name(aside.name.replace(f"~{host}~", "~0th3rh05~"))
    path.rename(aside)
    assert newest_good(tmp_path) == aside


def test_latest_says_nothing_where_nothing_was_saved(tmp_path):
    assert latest_name(tmp_path) is None
    assert latest_name(tmp_path / "missing") is None


def test_files_of_others_are_left_alone(tmp_path, save):
    for name in (".nfs0001", ".writing", "notes.txt", ".tmp-x"):
        (tmp_path / name).touch()
    save(tmp_path, 1)
    assert {".nfs0001", ".writing", "notes.txt", ".tmp-x"} < set(os.listdir(tmp_path))


def test_everything_is_durable_before_it_gets_its_name(tmp_path, save, monkeypatch):
    events = []
    rename, replace, fsync = Path.rename, Path.replace, os.fsync
    path_of = {}

    def traced_open(path, flags, *args, opened=os.open, **options):
        descriptor = opened(path, flags, *args, **options)
        path_of[descriptor] = str(path)
        return descriptor

    monkeypatch.setattr(os, "open", traced_open)
    monkeypatch.setattr(os, "fsync", lambda file: (events.append(("sync", os.readlink(f"/proc/self/fd/{file}"))), fsync(file)))
    monkeypatch.setattr(Path, "rename", lambda self, to: (events.append(("place", str(to))), rename(self, to))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append(("place", str(to))), replace(self, to))[1])
    save(tmp_path, 1)
    synced = [Path(name).name for kind, name in events if kind == "sync"]
    kinds = [kind for kind, _ in events]
    members = {"model.safetensors", "trainer.safetensors", "trainer.pt", "state.json", "config.yaml", "manifest.json"}
    assert members < set(synced[: kinds.index("place")])
    assert [Path(name).name for kind, name in events if kind == "place"] == ["step-000001", "LATEST"]
    assert ".writing" in synced[kinds.index("place") - 1]  # the new directory itself
    after = events[kinds.index("place") + 1 :]
    assert [(kind, Path(name).name) for kind, name in after] == [
        ("sync", tmp_path.name),
        ("place", "LATEST"),
        ("sync", tmp_path.name),
    ]
