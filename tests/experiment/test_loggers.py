import csv
import json
import logging
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from torch import nn

from mmkit.errors import UsageError
from mmkit.experiment.guarded_logger import Guard, Patience, within
from mmkit.experiment.loggers import build_loggers, check_conflicts, close_loggers, logger_ids
from mmkit.experiment.wandb_mode import wandb_mode
from mmkit.extras import MissingExtraError


def composed(*overrides):
    with initialize(version_base="1.3", config_path=None):
        return compose("base_config", overrides=["task=ContrastivePretraining", "experiment_name=first", *overrides])


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No key and no server of the machine's, and nothing left for the next test."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("WANDB_SILENT", "true")


# A tiny training: batch norm, dropout, augmentation; every disturbance of the random numbers or of a buffer changes its weights.


class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1))
        self.example_input_array = torch.zeros(2, 4)

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        noise = torch.randn_like(batch) * random.random() * np.random.rand()
        loss = self.net(batch + noise).square().mean()
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fitted(*loggers):
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    task, data = Net(), torch.utils.data.DataLoader(torch.randn(24, 4), batch_size=4, shuffle=True)
    trainer = Trainer(
        max_epochs=2, log_every_n_steps=1, logger=list(loggers), accelerator="cpu", enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, data)
    return task.state_dict()


@pytest.fixture(scope="module")
def undisturbed():
    return fitted()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


class BadLogger(Logger):
    def __init__(self, how):
        super().__init__()
        self.how, self.calls = how, 0

    name = version = "bad"

    def hurt(self, *args, **kwargs):
        self.calls += 1
        if self.how == "stalls":
            time.sleep(600)
        if self.how == "full":
            with Path("/dev/full").open("w") as file:
                file.write("x")
        raise {"raises": RuntimeError("no"), "exits": SystemExit(3)}[self.how]

    log_metrics = log_hyperparams = save = finalize = after_save_checkpoint = hurt

    def log_graph(self, model):
        if self.how != "stalls":
            self.hurt()


@pytest.mark.parametrize("how", ["raises", "exits", "full", "stalls"])
def test_a_bad_logger_changes_no_weight_and_the_run_ends(how, undisturbed, caplog):
    began, bad = time.monotonic(), BadLogger(how)
    guard = Guard(bad, Patience(0.5))
    assert same(fitted(bad), undisturbed)
    bad.finalize("success")
    assert guard.is_off
    assert time.monotonic() - began < 60  # not the minutes of a stalling one
    warnings = [record.message for record in caplog.records if record.name.startswith("mmkit")]
    if how == "stalls":
        assert warnings[0] == "BadLogger does not finish in time. The run goes on without what it has not written."
        assert bad.calls == 1
    else:
        assert bad.calls <= 4
        assert warnings[0].startswith("BadLogger failed, the run goes on: ")
        assert warnings[1] == "BadLogger failed 3 times in a row and is switched off."
        assert how != "full" or "No space left on device" in warnings[0]


def test_a_logger_that_draws_and_computes_with_the_model_changes_no_weight(tmp_path, undisturbed):
    board = TensorBoardLogger(tmp_path, log_graph=True)  # traces the model in training mode: draws, moves running means
    Guard(board, Patience(30))

    class Drawing(CSVLogger):
        def log_image(self, images):
            return torch.rand(1) + random.random() + np.random.rand()

    drawing = Drawing(tmp_path)
    Guard(drawing, Patience(30))
    torch.manual_seed(0)
    drawing.log_image([])
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
    assert same(fitted(board, drawing), undisturbed)
    assert isinstance(board, TensorBoardLogger)


def test_a_slow_logger_drops_and_tells_once(caplog):
    release = threading.Event()

    class Slow(CSVLogger):
        def log_metrics(self, metrics, step=None):
            release.wait(60)

    slow = Slow("unused")
    guard = Guard(slow, Patience(30))
    began = time.monotonic()
    for step in range(1500):
        slow.log_metrics({"a": 1.0}, step)
    assert time.monotonic() - began < 30
    release.set()
    guard.wait()
    guard.wait()
    (told,) = [record.message for record in caplog.records]
    assert re.fullmatch(r"Slow was too slow or switched off: (499|500) calls were dropped\.", told)


def test_metrics_are_copied_when_they_are_logged():
    seen, release = [], threading.Event()

    class Late(CSVLogger):
        def log_metrics(self, metrics, step=None):
            release.wait(60)
            seen.append(metrics)

    late = Late("unused")
    guard, metrics = Guard(late, Patience(30)), {"a": torch.zeros(1), "b": 1}
    late.log_metrics(metrics, step=1)
    metrics["a"] += 1
    metrics["b"] = 2
    release.set()
    guard.wait()
    assert seen == [{"a": torch.zeros(1), "b": 1}]


def test_a_failure_now_and_then_does_not_switch_a_logger_off():
    class Flaky(CSVLogger):
        count = 0

        def log_metrics(self, metrics, step=None):
            self.count += 1
            if self.count % 2:
                raise OSError("now and then")

    flaky = Flaky("unused")
    guard = Guard(flaky, Patience(30))
    for step in range(20):
        flaky.log_metrics({}, step)
    guard.wait()
    assert (flaky.count, guard.is_off) == (20, False)


def test_what_takes_too_long_to_start_is_left_alone():
    with pytest.raises(TimeoutError, match="longer than 0 s"):
        within(0.05, lambda: time.sleep(600))
    with pytest.raises(ZeroDivisionError):
        within(30, lambda: 1 / 0)


# The loggers of a configuration


def test_loggers_come_from_the_configuration_and_from_booleans(tmp_path):
    cfg = composed(
        "+trainer/logger@trainer.logger.mine=CSVLogger", f"trainer.logger.mine.save_dir={tmp_path}/mine",
        "exp_manager.create_tensorboard_logger=true", "trainer.logger.mine.prefix=p",
    )  # fmt: skip
    loggers = build_loggers(cfg, tmp_path, {})
    assert [type(each).__name__ for each in loggers] == ["CSVLogger", "TensorBoardLogger"]
    assert [str(each.log_dir) for each in loggers] == [f"{tmp_path}/mine/lightning_logs/version_0", f"{tmp_path}/tensorboard/"]
    for each in loggers:
        each.log_metrics({"train/loss": 0.5}, step=3)
        each.finalize("success")
    close_loggers(loggers)
    (row,) = csv.DictReader((tmp_path / "mine/lightning_logs/version_0/metrics.csv").read_text().splitlines())
    assert row == {"p-train/loss": "0.5", "step": "3"}
    assert logger_ids(loggers) == {}


def test_event_files_can_be_read_back(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    cfg = composed("exp_manager.create_tensorboard_logger=true")
    for steps in (range(3), range(3, 5)):  # a run, and its resumption
        (board,) = build_loggers(cfg, tmp_path, {})
        for step in steps:
            board.log_metrics({"train/loss": 1 / (step + 1)}, step)
        board.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [
        (step, pytest.approx(1 / (step + 1))) for step in range(5)
    ]


def test_mlflow_files_can_be_read_back_and_a_resumed_run_is_the_same_one(tmp_path):
    from mlflow.tracking import MlflowClient

    cfg = composed("exp_manager.create_mlflow_logger=true", "seed=5")
    ids = {}
    for step in (1, 2):
        loggers = build_loggers(cfg, tmp_path / "run", ids)
        loggers[0].log_metrics({"train/loss": step / 2}, step)
        loggers[0].finalize("success")
        before, ids = ids, logger_ids(loggers)
        assert ids == (before or ids)
    client = MlflowClient(f"file:{tmp_path}/run/mlruns")
    (experiment,) = client.search_experiments(filter_string="name = 'first'")
    (found,) = client.search_runs([experiment.experiment_id])
    assert ids == {"MLFlowLogger": [found.info.run_id]}
    assert (found.info.status, found.info.run_name, found.data.params["seed"]) == ("FINISHED", "run", "5")
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "train/loss")] == [(1, 0.5), (2, 1.0)]


def test_wandb_files_can_be_read_back_and_hold_no_secret(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mmkit_run", "planted_password=swordfish-argv"])
    cfg = composed(
        "exp_manager.create_wandb_logger=true", "+task.encoders={x: {password: swordfish-config}}",
        "exp_manager.wandb_logger_kwargs.project=my_project", "+exp_manager.wandb_logger_kwargs.notes='https://me:swordfish-notes@host'",
    )  # fmt: skip
    first = build_loggers(cfg, tmp_path / "run", {})
    first[0].log_metrics({"train/loss": 0.25}, step=7)
    first[0].finalize("success")
    ids = logger_ids(first)
    second = build_loggers(cfg, tmp_path / "run", ids)  # also ends the first run, which is still active
    second[0].log_metrics({"train/loss": 0.125}, step=8)
    close_loggers(second)
    other = build_loggers(cfg, tmp_path / "run", {})  # the next job of this process
    close_loggers(other)
    assert logger_ids(second) == ids != logger_ids(other)
    files = sorted((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"), key=lambda path: path.parent.name)
    (run_id,) = ids["WandbLogger"]
    assert sum(run_id in path.name for path in files) == 2
    records = [record for path in files if run_id in path.name for record in wandb_records(path)]
    values = [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in r.history.item} for r in records]
    logged = [(value["trainer/global_step"], value["train/loss"]) for value in values if "train/loss" in value]
    assert sorted(logged) == [(7, 0.25), (8, 0.125)]
    assert {(r.run.project, r.run.notes) for r in records if r.run.project} == {("my_project", "https://***@host")}
    for path in (tmp_path / "run").rglob("*"):
        assert not path.is_file() or b"swordfish" not in path.read_bytes(), path


def wandb_records(path):
    """The records of a ``.wandb`` file: LevelDB's log format (blocks of 32 KiB; checksum, length and kind before each piece)."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, pieces = path.read_bytes(), 7, b""
    assert data.startswith(b":W&B")
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:
            position += 32768 - position % 32768
            continue
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        pieces += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last piece
            yield Record.FromString(pieces)
            pieces = b""


def test_hyperparameters_are_the_configuration_without_secrets(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "swordfish-9")
    cfg = composed("exp_manager.create_csv_logger=true", "+task.encoders={x: {token: '${oc.env:MY_TOKEN}', password: hunter2}}")
    (logger,) = build_loggers(cfg, tmp_path, {})
    logger.log_hyperparams({"api_key": "hunter3", "lr": 0.5})
    logger.finalize("success")
    text = (tmp_path / "csv/version_0/hparams.yaml").read_text()
    assert "${oc.env:MY_TOKEN}" in text
    assert "lr: 0.5" in text
    assert "swordfish" not in text
    assert "hunter" not in text


def test_other_ranks_and_trial_runs_log_nothing(tmp_path, monkeypatch):
    on = "exp_manager.create_csv_logger=true"
    assert [type(each) for each in build_loggers(composed(on, "trainer.fast_dev_run=true"), tmp_path, {})] == [DummyLogger]
    monkeypatch.setenv("RANK", "1")
    assert [type(each) for each in build_loggers(composed(on), tmp_path, {})] == [DummyLogger]
    assert list(tmp_path.iterdir()) == []


def test_a_logger_that_cannot_start_is_left_out_but_a_mistake_is_an_error(tmp_path, caplog):
    (tmp_path / "file").touch()
    cfg = composed("+trainer/logger@trainer.logger.mine=TensorBoardLogger", f"trainer.logger.mine.save_dir={tmp_path}/file")
    assert build_loggers(cfg, tmp_path, {}) == []
    assert "TensorBoardLogger cannot start, the run goes on without it: " in caplog.text
    wrong = composed("exp_manager.create_csv_logger=true", "+exp_manager.csv_logger_kwargs.nonsense=1")
    with pytest.raises(Exception, match="nonsense"):
        build_loggers(wrong, tmp_path, {})


def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtraError, match=r"exp_manager.create_wandb_logger needs `pip install mmkit\[wandb\]`"):
        build_loggers(composed("exp_manager.create_wandb_logger=true"), tmp_path, {})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            ["exp_manager.create_csv_logger=true", "+trainer/logger@trainer.logger.mine=CSVLogger"],
            r"exp_manager.create_csv_logger=true and trainer.logger.mine \(lightning.*CSVLogger\) do the same. Set "
            r"exp_manager.create_csv_logger=false, or trainer.logger.mine=null.", id="logger",
        ),
        pytest.param(
            ["exp_manager.create_wandb_logger=true", "trainer.logger={_target_: my.WandbLogger}"],
            r"create_wandb_logger=true and trainer.logger \(my.WandbLogger\)", id="single-logger",
        ),
        pytest.param(
            ["+trainer/callbacks@trainer.callbacks.best=ModelCheckpoint"],
            "create_checkpoint_callback=true and trainer.callbacks.best ", id="checkpoint",
        ),
        pytest.param(
            ["exp_manager.create_early_stopping_callback=true", "+trainer/callbacks@trainer.callbacks.stop=EarlyStopping"],
            "create_early_stopping_callback=true and trainer.callbacks.stop ", id="early-stopping",
        ),
        pytest.param(
            ["exp_manager.ema.enable=true", "trainer.callbacks=[{_target_: x.ExponentialMovingAverage}]"],
            "ema.enable=true and trainer.callbacks.0 ", id="average",
        ),
        pytest.param(
            ["exp_manager.version=a", "exp_manager.explicit_log_dir=b"],
            "exp_manager.version=a and exp_manager.explicit_log_dir=b both say", id="directory",
        ),
        pytest.param(["trainer.logger=true"], "trainer.logger=True: name loggers", id="no-name"),
    ],
)  # fmt: skip
def test_what_is_given_twice_is_refused_naming_both_places(overrides, message):
    with pytest.raises(UsageError, match=message):
        check_conflicts(composed(*overrides, *(["exp_manager.create_csv_logger=true"] if "logger=true" in overrides[0] else [])))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["trainer.logger=false", "exp_manager.create_csv_logger=true"],
        ["+trainer/callbacks@trainer.callbacks.best=ModelCheckpoint", "exp_manager.create_checkpoint_callback=false"],
        ["exp_manager.create_csv_logger=true", "+trainer/logger@trainer.logger.mine=TensorBoardLogger"],
    ],
    ids=str,
)
def test_what_is_given_once_is_accepted(overrides):
    check_conflicts(composed(*overrides))


# W&B's mode


@pytest.fixture
def server():
    listening = socket.create_server(("127.0.0.1", 0))
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.close()


def test_wandb_is_online_only_if_it_can_be_reached_and_has_a_key(server, tmp_path):
    closed = socket.create_server(("127.0.0.1", 0))
    nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    closed.close()
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password " + "1a" * 20)
    key = {"WANDB_API_KEY": "1a" * 20}
    assert wandb_mode(None, {"WANDB_BASE_URL": server, **key}) == "online"
    assert wandb_mode(None, {"WANDB_BASE_URL": server, "NETRC": str(tmp_path / "netrc")}) == "online"
    assert wandb_mode(None, {"WANDB_BASE_URL": server, "NETRC": str(tmp_path / "none")}) == "offline"
    assert wandb_mode("online", {"WANDB_BASE_URL": nobody, **key}) == "offline"
    assert wandb_mode(None, {"WANDB_BASE_URL": server, "WANDB_MODE": "dryrun", **key}) == "offline"
    assert wandb_mode("disabled", {"WANDB_BASE_URL": server, **key}) == "disabled"


def test_reaching_nobody_takes_a_few_seconds_at_most(monkeypatch):
    monkeypatch.setattr("mmkit.experiment.wandb_mode._SECONDS", 0.2)
    monkeypatch.setattr(socket, "create_connection", lambda *args, **kwargs: time.sleep(600))  # name servers can hang, too
    began = time.monotonic()
    assert wandb_mode(None, {"WANDB_API_KEY": "1a" * 20}) == "offline"
    assert time.monotonic() - began < 30


def test_a_process_with_a_stalled_logger_ends():
    code = (
        "import mmkit, time\n"
        "from lightning.pytorch.loggers import CSVLogger\n"
        "from mmkit.experiment.guarded_logger import Guard, Patience\n"
        "class Stalls(CSVLogger):\n"
        "    def log_metrics(self, *args, **kwargs): time.sleep(600)\n"
        "stalls = Stalls('unused'); Guard(stalls, Patience(0.1))\n"
        "stalls.log_metrics({}); stalls.finalize('success'); print('end')\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "end\n", done.stderr


logging.getLogger("mlflow").setLevel(logging.ERROR)
