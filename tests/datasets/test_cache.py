import multiprocessing
import stat
import time
from pathlib import Path

import platformdirs
import pytest

from mmkit.datasets.cache import cache_root, locked, sha256_of, written_at_once


def test_the_root_is_what_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("MMKIT_DATA", str(tmp_path / "here"))
    assert cache_root() == tmp_path / "here"


def test_without_it_the_root_is_in_the_users_cache(monkeypatch):
    monkeypatch.delenv("MMKIT_DATA", raising=False)
    assert cache_root() == Path(platformdirs.user_cache_dir("mmkit")) / "data"


def test_a_written_folder_appears_whole(tmp_path):
    target = tmp_path / "data"
    with written_at_once(target) as folder:
        (folder / "one").write_text("1")
        assert not target.exists()
    assert (target / "one").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt], ids=["error", "ctrl_c"])
@pytest.mark.parametrize("existing", [True, False], ids=["replacing", "new"])
def test_a_failure_leaves_what_was_there_before(tmp_path, error, existing):
    target = tmp_path / "data"
    if existing:
        target.mkdir()
        (target / "old").touch()

    def write_half():
        with written_at_once(target) as folder:
            (folder / "half").touch()
            raise error

    with pytest.raises(error):
        write_half()
    assert [path.name for path in tmp_path.rglob("*")] == (["data", "old"] if existing else [])


def test_a_written_folder_replaces_the_old_one(tmp_path):
    target = tmp_path / "data"
    target.mkdir()
    (target / "old").touch()
    with written_at_once(target) as folder:
        (folder / "new").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "new"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    left = tmp_path / ".data.partial"
    left.mkdir()
    (left / "half").touch()
    with written_at_once(tmp_path / "data") as folder:
        assert list(folder.iterdir()) == []
    assert not left.exists()


def test_others_may_read_a_written_folder(tmp_path):
    with written_at_once(tmp_path / "data"):
        pass
    (tmp_path / "plain").mkdir()
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def _append_slowly(log: Path, target: Path) -> None:
    with locked(target):
        log.write_text(log.read_text() + "in ")
        time.sleep(0.2)
        log.write_text(log.read_text() + "out ")


def test_processes_take_turns(tmp_path):
    log = tmp_path / "log"
    log.touch()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_append_slowly, args=(log, tmp_path / "new" / "data")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert log.read_text() == "in out in out "


def test_the_digest_is_that_of_the_content(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    # the example of FIPS 180-2, appendix B.1
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
