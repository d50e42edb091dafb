import json
import math
import os
import resource
import signal
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch.utilities import rank_zero_only

from mmkit.experiment.metrics_file import MetricsFile


def lines(path):
    return [
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")) for line in path.read_text().splitlines()
    ]


def test_every_call_is_a_line_that_is_on_disk_at_once(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    before = time.time()
    metrics.log_metrics({"train/loss": 0.5, "epoch": 0}, step=1)
    metrics.log_metrics({"val/loss": torch.tensor(2.0), "n": np.float32(0.25)}, step=2)
    first, second = lines(metrics.path)
    assert before - 1 <= first.pop("time") <= second.pop("time") <= time.time() + 1
    assert first == {"step": 1, "train/loss": 0.5, "epoch": 0}
    assert second == {"step": 2, "val/loss": 2.0, "n": 0.25}
    assert (metrics.save_dir, metrics.version) == (str(tmp_path), "")


def test_what_json_cannot_hold_is_text(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    values = {"a": math.nan, "b": math.inf, "c": -math.inf, "d": "text", "e": torch.ones(2), "f": True, "g": 10**400}
    metrics.log_metrics(values, step=None)
    (line,) = lines(metrics.path)
    assert [line[name] for name in "abcdefg"] == ["nan", "inf", "-inf", "text", "tensor([1., 1.])", True, 10**400]
    assert line["step"] is None


@given(st.lists(st.floats(), min_size=1, max_size=5), st.integers(0, 5))
def test_a_file_is_cut_where_a_checkpoint_was_made(tmp_path_factory, values, kept):
    metrics = MetricsFile(tmp_path_factory.mktemp("run") / "metrics.jsonl")
    offsets = [metrics.offset()]
    for step, value in enumerate(values):
        metrics.log_metrics({"a": value}, step)
        offsets.append(metrics.offset())
    kept = min(kept, len(values))
    metrics.truncate(offsets[kept])
    if values:
        assert [line["step"] for line in lines(metrics.path)] == list(range(kept))
        assert metrics.offset() == offsets[kept]


def test_half_a_line_is_cut_also_where_the_checkpoint_is_newer_than_the_file(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.truncate(100)
    assert not metrics.path.exists()
    metrics.log_metrics({"a": 1.0}, 1)
    whole = metrics.offset()
    with metrics.path.open("a") as file:
        file.write('{"step": 2, "a": ' + "1" * 200_000)
    metrics.truncate(10**9)
    assert metrics.offset() == whole
    metrics.truncate(whole - 1)
    assert metrics.offset() == 0


def test_a_full_disk_is_told_and_costs_whole_lines_only(tmp_path, caplog):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.log_metrics({"a": 1.0}, 1)
    limit, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (metrics.offset() + 20, limit[1]))  # the next line fits by half
        metrics.log_metrics({"a": 1.0}, 2)
        metrics.log_metrics({"a": 1.0}, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, ignored)
    metrics.log_metrics({"a": 1.0}, 4)
    metrics.finalize("success")
    metrics.finalize("success")
    assert [line["step"] for line in lines(metrics.path)] == [1, 4]
    first, last = [record.message for record in caplog.records]
    assert first == f"{metrics.path} cannot be written (No space left on device); the run goes on without its lines."
    assert last == f"{metrics.path}: 2 lines could not be written."


@pytest.mark.parametrize("target", ["/dev/full", "missing/folder"])
def test_a_disk_that_takes_nothing_stops_nothing(tmp_path, target, caplog):
    path = tmp_path / "metrics.jsonl"
    path.symlink_to(target if target.startswith("/") else tmp_path / target)
    metrics = MetricsFile(path)
    for step in range(3):
        metrics.log_metrics({"a": 1.0}, step)
    assert len(caplog.records) == 1
    metrics.truncate(5)


def test_other_ranks_write_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    metrics.log_metrics({"a": 1.0}, 1)
    metrics.truncate(0)
    assert os.listdir(tmp_path) == []
    assert metrics.offset() == 0
