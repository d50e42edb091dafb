import gc
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from multiprocessing import active_children

import pytest

from mmkit.dataloader import watched
from mmkit.dataloader.workers import WorkerFailedError, Workers


STALLING = {"photos": {"_target_": "tests.dataloader.noisy.Stalling"}}


@pytest.fixture(autouse=True)
def no_worker_is_left():
    yield
    gc.collect()
    deadline = time.monotonic() + 30
    while active_children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not active_children()


def reading_worker(loader) -> int:
    """The process that reads position 5, once it does."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for activity in loader.dataset.board.activities():
            if activity.position == 5:
                return activity.pid
        time.sleep(0.01)
    raise TimeoutError


def kill_later(loader, sent: signal.Signals) -> None:
    threading.Thread(target=lambda: os.kill(reading_worker(loader), sent)).start()


@pytest.mark.parametrize(
    ("sent", "cause"),
    [(signal.SIGKILL, "The kernel kills processes when memory runs out"), (signal.SIGSEGV, "A native library crashed")],
    ids=["kill -9", "segmentation fault"],
)
def test_a_dead_worker_is_reported_with_what_it_read(make, sent, cause):
    loader = make(STALLING, batch_size=2, num_workers=1).train_dataloader()
    kill_later(loader, sent)
    with pytest.raises(WorkerFailedError) as error:
        list(loader)
    pattern = r"A worker .*pid \d+\) was killed by {} while reading data set 0 'photos' \(Stalling\), position 5\. {}"
    assert error.match(pattern.format(sent.name, cause))


def test_a_worker_that_dies_while_the_main_process_works_is_reported_too(make):
    loader = make(STALLING, batch_size=2, num_workers=1).train_dataloader()
    iterator = iter(loader)
    next(iterator)
    kill_later(loader, signal.SIGKILL)
    with pytest.raises(WorkerFailedError, match="was killed by SIGKILL while reading data set 0 'photos'"):
        time.sleep(30)


def test_a_death_that_torch_has_wrapped_does_not_become_its_own_cause():
    death = WorkerFailedError("A worker was killed")
    death.__cause__ = RuntimeError("DataLoader worker (pid 5) is killed by signal: Killed.")
    waiting = RuntimeError("DataLoader worker (pid(s) 5) exited unexpectedly")
    waiting.__cause__ = death
    with pytest.raises(WorkerFailedError) as raised:
        Workers(None).explain(waiting)
    assert raised.value is death
    assert death.__cause__ is not waiting


def test_the_loaders_timeout_is_reported_with_what_is_read(make):
    parts = {"photos": STALLING["photos"] | {"seconds": 3.0}}
    loader = make(parts, batch_size=2, num_workers=1, timeout=1.0).train_dataloader()
    with pytest.raises(WorkerFailedError, match=r"timed out after 1.0 seconds: worker 0 .* for 1 s while reading .*, position 5"):
        list(loader)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_late_batch_is_announced_again_and_again(make, num_workers, caplog, monkeypatch):
    monkeypatch.setattr(watched, "STALL_SECONDS", 0.3)
    parts = {"photos": STALLING["photos"] | {"seconds": 1.0}}
    assert len(list(make(parts, batch_size=2, num_workers=num_workers).train_dataloader())) == 5
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) in (2, 3)
    who = r"worker 0 \(pid \d+\)" if num_workers else "the main process"
    pattern = rf"Waiting for a batch for \d s: {who} for \d s while reading data set 0 'photos' \(Stalling\), position 5\."
    assert all(re.fullmatch(pattern, message) for message in told), told


def test_a_loader_that_is_not_late_says_nothing_and_leaves_no_thread(make, caplog, monkeypatch):
    monkeypatch.setattr(watched, "STALL_SECONDS", 0.3)
    iterator = iter(make(batch_size=2).train_dataloader())
    next(iterator)
    time.sleep(0.5)  # the trainer's time, not the loader's
    del iterator
    deadline = time.monotonic() + 10
    while any(thread.name == "mmkit-loader-watch" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(thread.name == "mmkit-loader-watch" for thread in threading.enumerate())
    assert not caplog.records


MAIN = """
    import signal, sys, time
    from omegaconf import OmegaConf
    from mmkit.conf.base import LoadersConf
    from mmkit.dataloader.loaders import ConfiguredData

    if __name__ == "__main__":
        loaders = OmegaConf.structured(LoadersConf)
        loaders.train = OmegaConf.merge(loaders.train, {"pin_memory": False, "batch_size": 2, "num_workers": 2})
        entry = {"_target_": "tests.dataloader.noisy.Stalling"}
        data = ConfiguredData(OmegaConf.create({"train": entry, "val": None, "test": None}), loaders)
        loader = data.train_dataloader()
        batches = iter(loader)
        next(batches)
        while len({activity.pid for activity in loader.dataset.board.activities()}) < 2:
            time.sleep(0.01)
        signal.signal(signal.SIGTERM, lambda *_: None)  # as mmkit_run does, which saves and leaves
        print(*(activity.pid for activity in loader.dataset.board.activities()), flush=True)
        time.sleep(60)
"""


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_workers_outlive_signals_to_the_process_group_but_not_the_main_process():
    command = [sys.executable, "-c", textwrap.dedent(MAIN)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        workers = [int(pid) for pid in process.stdout.readline().split()]
        os.killpg(process.pid, signal.SIGTERM)
        time.sleep(0.5)
        assert len(workers) == 2
        assert all(map(alive, workers))
        process.kill()
        process.wait()
        deadline = time.monotonic() + 10
        while any(map(alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(map(alive, workers))
