import itertools
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from mmkit.errors import MMKitError, UsageError
from mmkit.experiment import run_lock
from mmkit.experiment.ranks import is_rank_zero, rank_name
from mmkit.experiment.run_dir import RunDir, read_record
from mmkit.experiment.run_lock import HeldError, Holder, RunLock, read_lock


def claims_at_once(folder, count, how):
    program = Path(__file__).with_name("claims_at_once.py")
    done = subprocess.run([sys.executable, "-W", "ignore", program, folder, str(count), how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    killed, told = json.loads(done.stdout)
    winners = [process for process, code, _ in told if code == 0]
    return killed, winners, [(code, message) for _, code, message in told if code != 0]


def test_of_twenty_simultaneous_starts_one_wins_and_nineteen_are_refused(tmp_path):
    folder = tmp_path / "run"
    _, winners, refusals = claims_at_once(folder, 20, "new")
    assert len(winners) == 1
    assert [code for code, _ in refusals] == [2] * 19
    for _, message in refusals:
        assert message.startswith(f"{folder} is in use by process {winners[0]} on {socket.gethostname()} since 20")
        assert message.endswith(". Wait for it or end it, or choose another exp_manager.version or exp_manager.explicit_log_dir.")
        assert "\n" not in message
    assert read_record(folder)["status"] == "finished"
    assert sorted(path.name for path in folder.iterdir()) == [".run.lock.guard", "run.json"]


def test_of_many_that_take_over_from_a_killed_process_one_wins(tmp_path):
    killed, winners, refusals = claims_at_once(tmp_path / "run", 20, "after-kill")
    assert len(winners) == 1
    assert [code for code, _ in refusals] == [2] * 19
    attempts = read_record(tmp_path / "run")["attempts"]
    assert [(attempt["status"], attempt["pid"]) for attempt in attempts] == [("killed", killed), ("finished", winners[0])]
    assert attempts[0]["start"] <= attempts[0]["end"] <= attempts[1]["start"]


def test_threads_that_take_over_the_same_lock_again_and_again_never_both_win(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "start_of", lambda pid: next(starts))  # every holder looks dead, until it is guarded
    starts = itertools.count()
    for _ in range(20):
        won, barrier = [], threading.Barrier(8)

        def claim(won=won, barrier=barrier):
            barrier.wait()
            won.append(RunLock(tmp_path))

        threads = [threading.Thread(target=claim) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert sum(lock.is_ours() for lock in won) == 1
        [lock.release() for lock in won]
    assert read_lock(tmp_path) is None


@pytest.mark.parametrize(
    ("change", "silent_seconds", "is_alive"),
    [
        pytest.param({}, 1000, True, id="this-process"),
        pytest.param({"pid": 2**22 - 3}, 0, False, id="no-such-process"),
        pytest.param({"process_start": 1}, 0, False, id="process-id-used-again"),
        pytest.param({"boot_id": "other"}, 0, False, id="machine-restarted"),
        pytest.param({"namespace": "pid:[1]", "pid": 2**22 - 3}, 10, True, id="other-container"),
        pytest.param({"namespace": "pid:[1]"}, 400, False, id="silent-container"),
        pytest.param({"host": "elsewhere", "boot_id": "other"}, 10, True, id="other-machine"),
        pytest.param({"host": "elsewhere", "boot_id": "other"}, 400, False, id="silent-machine"),
    ],
)
def test_a_lock_is_taken_over_only_from_the_dead(tmp_path, change, silent_seconds, is_alive):
    (tmp_path / "run.lock").write_text(json.dumps(asdict(replace(Holder.here(), **change))))
    past = time.time() - silent_seconds
    os.utime(tmp_path / "run.lock", (past, past))
    if is_alive:
        with pytest.raises(HeldError):
            RunLock(tmp_path)
    else:
        RunLock(tmp_path).release()


def test_a_damaged_lock_holds_until_it_is_old(tmp_path):
    (tmp_path / "run.lock").write_text("")
    with pytest.raises(UsageError, match=r"in use by process 0 on \? since \?"):
        RunDir.claim(tmp_path)
    os.utime(tmp_path / "run.lock", (0, 0))
    RunDir.claim(tmp_path).finish("finished")


def test_heartbeat_renews_the_lock_and_leaves_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(run_lock, "HEARTBEAT_SECONDS", 0.01)
    lock = RunLock(tmp_path)
    first = read_lock(tmp_path)
    while (now := read_lock(tmp_path)).heartbeat == first.heartbeat:
        time.sleep(0.01)
    assert replace(now, heartbeat="") == replace(first, heartbeat="")
    lock.release()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".run.lock.guard"]


def test_a_holder_that_lost_the_directory_notices_and_touches_nothing(tmp_path, caplog):
    slept = RunDir.claim(tmp_path)
    (tmp_path / "run.lock").unlink()
    successor = RunDir.claim(tmp_path, resume=True)
    slept._lock.refresh()
    assert not slept.is_ours
    assert "another process has taken the directory" in caplog.text
    slept.finish("finished")
    assert read_record(tmp_path)["status"] == "running"
    assert successor._lock.is_ours()
    successor.finish("finished")


def test_a_run_is_refused_unless_it_is_resumed_and_keeps_its_attempts(tmp_path):
    first = RunDir.claim(tmp_path, from_step=0)
    first.tell(job_type="train")
    first.finish("failed", step=7)
    first.finish("finished")  # too late
    with pytest.raises(UsageError, match=r"already holds a run \(failed\)\. Go on with it \(mmkit runs resume /.*\), or choose"):
        RunDir.claim(tmp_path)
    again = RunDir.claim(tmp_path, resume=True)
    record = read_record(tmp_path)
    assert (record["version"], record["job_type"], record["status"]) == (tmp_path.name, "train", "running")
    before, now = record["attempts"]
    assert (before["status"], before["step"], before["from_step"]) == ("failed", 7, 0)
    assert before["start"] <= before["end"] <= now["start"]
    again.finish("stopped")


def test_checkpoints_of_unknown_origin_are_not_mixed_with_a_new_run(tmp_path):
    (tmp_path / "checkpoints" / "step-1").mkdir(parents=True)
    with pytest.raises(UsageError, match="holds checkpoints of another origin"):
        RunDir.claim(tmp_path)
    RunDir.claim(tmp_path, resume=True).finish("finished")


def test_a_forked_worker_cannot_finish_the_run(tmp_path):
    run_dir = RunDir.claim(tmp_path)
    code = os.fork()
    if code == 0:
        run_dir.finish("failed")
        os._exit(0)
    os.waitpid(code, 0)
    assert run_dir._lock.is_ours()
    assert read_record(tmp_path)["status"] == "running"
    run_dir.finish("finished")


def test_other_ranks_wait_for_the_claim(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(MMKitError, match=r"rank-1: the first rank has not claimed .* in 0 s"):
        RunDir.join(tmp_path, patience=0.3)
    assert "rank-1: waiting for the first rank to claim" in caplog.text
    claimed = []
    timer = threading.Timer(0.3, lambda: claimed.append(RunDir.claim(tmp_path)))
    timer.start()
    joined = RunDir.join(tmp_path, patience=30)
    timer.join()
    joined.tell(status="mine")
    joined.finish("finished")
    assert read_record(tmp_path)["status"] == "running"
    claimed[0].finish("finished")


def test_ranks_do_not_join_another_launch(tmp_path, monkeypatch):
    first = RunDir.claim(tmp_path)
    lock = json.loads((tmp_path / "run.lock").read_text())
    (tmp_path / "run.lock").write_text(json.dumps(lock | {"launch": "slurm-1-0"}))
    for name, value in {"SLURM_JOB_ID": "2", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(MMKitError, match="has not claimed"):
        RunDir.join(tmp_path, patience=0.2)
    first.finish("finished")


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "rank-0"),
        ({"RANK": "3", "LOCAL_RANK": "1"}, "rank-3"),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "0", "NODE_RANK": "0"}, "rank-1"),
        ({"NODE_RANK": "1"}, "node-1-rank-0"),
        ({"NODE_RANK": "1", "LOCAL_RANK": "2"}, "node-1-rank-2"),
        ({"SLURM_PROCID": "5", "SLURM_LOCALID": "1"}, "rank-5"),
    ],
    ids=str,
)
def test_environment_tells_the_rank(environment, name):
    assert rank_name(environment) == name
    assert is_rank_zero(environment) == (name == "rank-0")


def test_every_rank_writes_a_log_of_its_own_without_secrets(tmp_path, monkeypatch):
    run_dir = RunDir.claim(tmp_path)
    monkeypatch.setenv("MY_TOKEN", "swordfish-1")
    run_dir.open_log()
    monkeypatch.setenv("RANK", "1")
    other = RunDir.join(tmp_path)
    other.open_log()
    logging.getLogger("here").warning("cloning https://me:pw@host with swordfish-1 and password=hunter2")
    other.finish("finished")
    run_dir.finish("finished")
    logging.getLogger("here").warning("too late")
    for name in ("rank-0", "rank-1"):
        (line,) = (tmp_path / "logs" / f"{name}.log").read_text().splitlines()
        assert line.endswith("WARNING here: cloning https://***@host with *** and password=***")


def test_a_log_on_a_full_disk_is_told_once_and_stops_nothing(tmp_path, capsys):
    run_dir = RunDir.claim(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "rank-0.log").symlink_to("/dev/full")
    run_dir.open_log()
    for _ in range(3):
        logging.getLogger("here").warning("text")
    run_dir.finish("finished")
    assert capsys.readouterr().err.count("No space left on device") == 1
    assert read_record(tmp_path)["status"] == "finished"


def test_a_directory_that_vanished_does_not_hide_how_the_run_ended(tmp_path, caplog):
    run_dir = RunDir.claim(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    run_dir.finish("failed")
    assert "the end of the run could not be written down" in caplog.text
