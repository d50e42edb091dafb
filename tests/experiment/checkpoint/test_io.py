import ctypes
import errno
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel
from torch.utils.data import DataLoader

from mmkit.errors import RefusedError, UsageError
from mmkit.experiment.checkpoint import (
    CheckpointNotWrittenError,
    DirectoryCheckpointIO,
    Retention,
    list_checkpoints,
    newest_good,
    verify,
)


# Saving


def test_the_newest_of_many_asynchronous_saves_is_complete_and_all_are_right(tmp_path, content, assert_same):
    io = DirectoryCheckpointIO()
    for step in range(1, 31):
        io.save_checkpoint(content(step), tmp_path / f"step-{step:06d}")
    assert io.load_checkpoint(tmp_path / "step-000030")["global_step"] == 30  # loading waits, too
    for step in range(1, 31):
        assert_same(io.load_checkpoint(tmp_path / f"step-{step:06d}"), content(step))


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, content, monkeypatch):
    """The writer is held up until the weights have changed."""
    changed = threading.Event()
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (changed.wait(), fsync(file))[1])
    io, checkpoint = DirectoryCheckpointIO(), content(1)
    before = checkpoint["state_dict"]["bias"].clone()
    io.save_checkpoint(checkpoint, tmp_path / "step-000001")
    assert not (tmp_path / "step-000001").exists()
    checkpoint["state_dict"]["bias"] += 1
    checkpoint["mmkit_state"]["step"] = 99
    changed.set()
    io.wait()
    read = io.load_checkpoint(tmp_path / "step-000001")
    assert torch.equal(read["state_dict"]["bias"], before)
    assert read["mmkit_state"]["step"] == 1


def test_a_second_save_waits_for_the_first(tmp_path, content, monkeypatch):
    running, most = [], []
    fsync = os.fsync

    def slow(file):
        running.append(threading.current_thread())
        most.append(len(set(running)))
        time.sleep(0.002)
        fsync(file)
        running.remove(threading.current_thread())

    monkeypatch.setattr(os, "fsync", slow)
    io = DirectoryCheckpointIO()
    for step in range(1, 6):
        io.save_checkpoint(content(step), tmp_path / f"step-{step:06d}")
    io.wait()
    assert max(most) == 1


def test_an_existing_checkpoint_is_replaced(tmp_path, content):
    io = DirectoryCheckpointIO(asynchronous=False)
    for epoch in (1, 2):
        io.save_checkpoint(content(7) | {"epoch": epoch}, tmp_path / "step-000007")
    assert io.load_checkpoint(tmp_path / "step-000007")["epoch"] == 2
    assert sorted(os.listdir(tmp_path)) == ["LATEST", "step-000007"]


def test_what_cannot_be_stored_is_refused_before_anything_is_written(tmp_path, content):
    io = DirectoryCheckpointIO()
    with pytest.raises(UsageError, match=r"callbacks.Mine.x is a numpy.ndarray"):
        io.save_checkpoint(content(1) | {"callbacks": {"Mine": {"x": np.zeros(1)}}}, tmp_path / "runs" / "step-000001")
    io.wait()
    assert os.listdir(tmp_path) == []


def test_a_name_of_another_step_is_refused(tmp_path, content):
    with pytest.raises(UsageError, match="the checkpoint is of step 7; call it step-000007"):
        DirectoryCheckpointIO().save_checkpoint(content(7), tmp_path / "step-000008")


@pytest.mark.parametrize("path", ["s3://bucket/step-000001", "memory://x"])
def test_a_remote_path_is_refused(content, path):
    with pytest.raises(UsageError, match="checkpoints lie in local directories"):
        DirectoryCheckpointIO().save_checkpoint(content(1), path)


def test_a_relative_path_is_that_of_the_moment(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    io = DirectoryCheckpointIO()
    io.save_checkpoint(content(1), "here/step-000001")
    monkeypatch.chdir("/")
    io.wait()
    assert verify(tmp_path / "here" / "step-000001").step == 1


# Failures


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=1m"):
        pytest.skip(f"a small file system cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    yield folder
    libc.umount2(str(folder).encode(), 2)


def _with_bytes(content, step, num_bytes, where="state_dict"):
    checkpoint = content(step)
    big = torch.zeros(num_bytes // 4)
    if where == "state_dict":
        checkpoint["state_dict"]["big"] = big
    else:
        checkpoint["optimizer_states"][0]["big"] = big
    return checkpoint


@pytest.mark.parametrize("asynchronous", [True, False], ids=["asynchronous", "synchronous"])
@pytest.mark.parametrize("where", ["state_dict", "optimizer_states"])
def test_a_full_disk_costs_one_save_and_says_what_it_takes(small_disk, content, caplog, where, asynchronous):
    io = DirectoryCheckpointIO(asynchronous=asynchronous)
    first, second = small_disk / "step-000001", small_disk / "step-000002"
    io.save_checkpoint(_with_bytes(content, 1, 300_000), first)
    io.wait()
    for _ in range(3):
        with pytest.raises(CheckpointNotWrittenError) as raised:  # noqa: PT012  # either of the two, by mode
            io.save_checkpoint(_with_bytes(content, 2, 900_000, where), second)
            io.wait()
        io.wait()  # raised once
        error = raised.value
        assert str(error).startswith(f"The checkpoint {second} was not written: No space left on device (ENOSPC). It takes 904,2")
        assert f"{error.free:,} are free there. The last one that was saved is {first}." in str(error)
        assert 500_000 < error.free < 900_000 < error.needed
        assert (error.exit_code, io.last_error) == (1, error)
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        caplog.clear()
        assert sorted(os.listdir(small_disk)) == ["LATEST", "step-000001"]
        assert newest_good(small_disk) == first
    io.save_checkpoint(_with_bytes(content, 2, 300_000, where), second)  # there is room again
    io.wait()
    assert io.last_error is None
    assert newest_good(small_disk) == second


def test_a_disk_that_fills_at_any_byte_costs_one_save(small_disk, content):
    """The room that is left shrinks page by page, so that every part of a save is the first without."""
    io, outcomes = DirectoryCheckpointIO(asynchronous=False), set()
    io.save_checkpoint(content(1), small_disk / "step-000001")
    filler = small_disk / "filler"
    for kept_free in range(0, 20):
        filler.unlink(missing_ok=True)
        status = os.statvfs(small_disk)
        filler.write_bytes(bytes(max(0, status.f_bavail - kept_free) * status.f_bsize))
        try:
            io.save_checkpoint(content(2), small_disk / "step-000002")
            outcomes.add("written")
        except CheckpointNotWrittenError:
            outcomes.add("not written")
        assert {info.problem for info in list_checkpoints(small_disk, thorough=True)} == {None}
        assert newest_good(small_disk) is not None
        assert not [name for name in os.listdir(small_disk) if name.startswith(".")]
    assert outcomes == {"written", "not written"}


LIMITED = """
import resource, signal, sys
import mmkit, torch
from mmkit.experiment.checkpoint import DirectoryCheckpointIO, newest_good
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
io = DirectoryCheckpointIO()
io.save_checkpoint({"global_step": 1, "state_dict": {"a": torch.zeros(10)}}, sys.argv[1] + "/step-000001")
io.wait()
io.save_checkpoint({"global_step": 2, "optimizer_states": torch.zeros(100_000)}, sys.argv[1] + "/step-000002")
try:
    io.teardown()
except Exception as error:
    print(error)
print(newest_good(sys.argv[1]))
"""


def test_a_limit_on_the_size_of_files_costs_one_save(tmp_path):
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True)
    first, last = done.stdout.splitlines()
    assert first.startswith(
        f"The checkpoint {tmp_path}/step-000002 was not written: File too large (EFBIG). It takes 400,000 bytes;"
    )
    assert last == f"{tmp_path}/step-000001"
    assert "was not written" in done.stderr  # at once, through logging's last resort
    assert sorted(os.listdir(tmp_path)) == ["LATEST", "step-000001"]


def _remount(folder, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(None, str(folder).encode(), None, 32 | flags, None) == 0, os.strerror(ctypes.get_errno())


def test_a_read_only_disk_costs_one_save_and_can_be_gone_on_from(small_disk, content):
    io = DirectoryCheckpointIO()
    io.save_checkpoint(content(1), small_disk / "step-000001")
    io.wait()
    _remount(small_disk, 1)
    try:
        io.save_checkpoint(content(2), small_disk / "step-000002")
        with pytest.raises(CheckpointNotWrittenError, match=r"step-000002 was not written: Read-only file system \(EROFS\)"):
            io.wait()
        assert newest_good(small_disk) == small_disk / "step-000001"
        assert io.load_checkpoint(small_disk / "step-000001")["global_step"] == 1
    finally:
        _remount(small_disk, 0)


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("call", [("os", "fsync"), ("Path", "rename"), ("Path", "replace"), ("Path", "mkdir")], ids=str)
def test_any_other_failure_costs_one_save(tmp_path, content, monkeypatch, number, call):
    io = DirectoryCheckpointIO()
    io.save_checkpoint(content(1), tmp_path / "step-000001")
    io.wait()

    def fail(*_args, **_options):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr({"os": os, "Path": Path}[call[0]], call[1], fail)
        io.save_checkpoint(content(2), tmp_path / "step-000002")
        with pytest.raises(CheckpointNotWrittenError, match=errno.errorcode[number]):
            io.wait()
    assert {info.problem for info in list_checkpoints(tmp_path, thorough=True)} == {None}
    assert newest_good(tmp_path) == tmp_path / "step-000001"
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    io.save_checkpoint(content(2), tmp_path / "step-000002")
    io.wait()
    assert newest_good(tmp_path) == tmp_path / "step-000002"


def test_a_mistake_of_ours_in_the_writer_is_raised_too(tmp_path, content, monkeypatch):
    monkeypatch.setattr("mmkit.experiment.checkpoint.io.describe", lambda *_: 1 / 0)
    io = DirectoryCheckpointIO()
    io.save_checkpoint(content(1), tmp_path / "step-000001")
    with pytest.raises(ZeroDivisionError):
        io.teardown()


def test_an_old_checkpoint_that_cannot_be_deleted_is_no_failure(tmp_path, content, monkeypatch, caplog):
    io = DirectoryCheckpointIO(retention=Retention(save_top_k=0))
    for step in (1, 2):
        io.save_checkpoint(content(step), tmp_path / f"step-{step:06d}")
    io.wait()

    def refuse(_):
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("mmkit.experiment.checkpoint.generations.take_away", refuse)
    io.save_checkpoint(content(3), tmp_path / "step-000003")
    io.wait()
    assert "step-000001 cannot be deleted: Permission denied" in caplog.text
    assert newest_good(tmp_path) == tmp_path / "step-000003"


# Loading


def test_a_file_of_lightning_is_read(tmp_path, content, assert_same):
    torch.save(content(3), tmp_path / "last.ckpt")
    assert_same(DirectoryCheckpointIO().load_checkpoint(tmp_path / "last.ckpt"), content(3))


def test_a_file_with_objects_is_refused_whatever_is_asked_for(tmp_path, content):
    torch.save(content(3) | {"hyper_parameters": {"path": Path("x")}}, tmp_path / "last.ckpt")
    with pytest.raises(RefusedError, match=r"last.ckpt: it is damaged, .* it names pathlib.*Path"):
        DirectoryCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", weights_only=False)


@pytest.mark.parametrize("data", [b"", b"text", bytes(100)])
def test_a_file_of_another_kind_is_refused(tmp_path, data):
    (tmp_path / "last.ckpt").write_bytes(data)
    with pytest.raises(RefusedError, match=r"last.ckpt: it is damaged"):
        DirectoryCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")


def test_a_file_that_holds_no_dictionary_is_refused(tmp_path):
    torch.save([1], tmp_path / "last.ckpt")
    with pytest.raises(RefusedError, match="it holds a list"):
        DirectoryCheckpointIO().load_checkpoint(tmp_path / "last.ckpt")


def test_what_is_not_there_is_refused(tmp_path):
    with pytest.raises(RefusedError, match="there is no such checkpoint"):
        DirectoryCheckpointIO().load_checkpoint(tmp_path / "nothing")


@pytest.mark.parametrize("where", ["meta", {"cpu": "meta"}, torch.device("meta")], ids=str)
def test_tensors_go_where_they_are_asked_to(tmp_path, save, where):
    read = DirectoryCheckpointIO().load_checkpoint(save(tmp_path, 1), map_location=where)
    assert read["state_dict"]["bias"].is_meta
    assert read["state_dict"]["head"] is read["state_dict"]["embed"]


def test_removing_the_latest_lets_the_one_before_be_gone_on_from(tmp_path, save, caplog):
    first, second = save(tmp_path, 1), save(tmp_path, 2)
    io = DirectoryCheckpointIO()
    io.remove_checkpoint(second)
    io.remove_checkpoint(second)
    assert os.listdir(tmp_path) == ["step-000001"]
    assert newest_good(tmp_path) == first
    assert not caplog.records


# With Lightning


class _Model(BoringModel):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(32)
        self.tied = self.layer

    def forward(self, x):
        return self.layer(self.norm(x))

    def train_dataloader(self):
        return DataLoader(torch.randn(32, 32, generator=torch.Generator().manual_seed(1)), batch_size=4)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=40)]


class _Beside(DirectoryCheckpointIO):
    """Writes with torch.save, too."""

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        super().save_checkpoint(checkpoint, path, storage_options)
        self.wait()
        torch.save(checkpoint, f"{path}.oracle")


@pytest.fixture
def fit(tmp_path):
    def fit(max_epochs, resumed=None, io=None, callbacks=(), model=None):
        seed_everything(1, verbose=False)
        model = model or _Model()
        trainer = Trainer(accelerator="cpu", max_epochs=max_epochs, plugins=[io or DirectoryCheckpointIO()], logger=False,
                          enable_checkpointing=bool(callbacks), callbacks=list(callbacks), enable_progress_bar=False,
                          enable_model_summary=False, limit_val_batches=0, default_root_dir=tmp_path)  # fmt: skip
        trainer.fit(model, ckpt_path=resumed)
        return trainer

    return fit


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*number of training batches",
    "ignore:The `srun` command",
    "ignore:Be aware that when using `ckpt_path`",
)


def test_lightning_goes_on_bit_by_bit_through_our_files(tmp_path, fit, assert_same):
    path = tmp_path / "checkpoints" / "step-000016"
    trainer = fit(2, io=_Beside())
    trainer.save_checkpoint(path, weights_only=False)
    read = trainer.strategy.checkpoint_io.load_checkpoint(path)
    assert_same(read, torch.load(f"{path}.oracle", weights_only=True))
    straight, resumed = fit(4), fit(4, resumed=path)
    assert resumed.global_step == straight.global_step == 32
    first, second = (each.optimizers[0].state_dict() for each in (straight, resumed))
    assert first["state"]
    assert_same(first, second)
    assert_same(straight.lr_scheduler_configs[0].scheduler.state_dict(), resumed.lr_scheduler_configs[0].scheduler.state_dict())
    assert_same(dict(straight.model.state_dict()), dict(resumed.model.state_dict()))


def test_the_callback_of_lightning_saves_and_deletes_through_our_files(tmp_path, fit):
    callback = ModelCheckpoint(tmp_path / "mine", filename="{epoch}", save_top_k=2, monitor="epoch", mode="max", save_last=True)

    class Logging(_Model):
        def on_train_epoch_end(self):
            self.log("epoch", float(self.current_epoch))

    fit(4, callbacks=[callback], model=Logging())
    assert sorted(os.listdir(tmp_path / "mine")) == ["LATEST", "epoch=2.ckpt", "epoch=3.ckpt", "last.ckpt"]
    assert verify(callback.best_model_path).step == 32
    assert newest_good(tmp_path / "mine") is not None
    assert fit(5, resumed=callback.best_model_path).global_step == 40


def test_a_failed_save_does_not_stop_the_training_and_is_raised_at_its_end(tmp_path, fit, monkeypatch):
    (tmp_path / "mine").write_text("a file where the directory should be")

    class Saving(_Model):
        def on_train_epoch_start(self):
            self.trainer.save_checkpoint(tmp_path / "mine" / "x", weights_only=False)
            epochs.append(self.current_epoch)

    epochs = []
    with pytest.raises(CheckpointNotWrittenError):
        fit(3, model=Saving())
    assert epochs == [0, 1, 2]


def test_objects_among_the_hyper_parameters_are_left_out(tmp_path, fit):
    class WithParameters(_Model):
        def __init__(self, path):
            super().__init__()
            self.save_hyperparameters()

    trainer = fit(1, model=WithParameters(Path("x")))
    trainer.save_checkpoint(tmp_path / "saved", weights_only=False)
    trainer.strategy.checkpoint_io.wait()
    assert "hyper_parameters" not in DirectoryCheckpointIO().load_checkpoint(tmp_path / "saved")
