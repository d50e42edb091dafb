import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from torch.utils.data import DataLoader, Dataset

from mmkit.trainer import step_timing
from mmkit.trainer.step_timing import StepTiming


pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers.*")


class Clock:
    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now


class SlowData(Dataset):
    def __init__(self, clock, seconds):
        self.clock, self.seconds = clock, seconds

    def __len__(self):
        return 8

    def __getitem__(self, index):
        self.clock.now += self.seconds
        return {"example_index": index}


class SlowModel(LightningModule):
    def __init__(self, clock):
        super().__init__()
        self.clock, self.weight = clock, torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        self.clock.now += 3
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.clock.now += 100

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


class Memory(Logger):
    name = version = "memory"

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        if "train/step_time_ms" in metrics:
            self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, params, *args, **kwargs):
        pass


def fit(clock, **settings):
    memory = Memory()
    quiet = {"enable_checkpointing": False, "enable_model_summary": False, "enable_progress_bar": False}
    settings = {**quiet, "num_sanity_val_steps": 0, "max_epochs": 2, "log_every_n_steps": 2, **settings}
    trainer = Trainer(accelerator="cpu", logger=memory, callbacks=[StepTiming()], **settings)
    loader = DataLoader(SlowData(clock, 1), batch_size=2)
    trainer.fit(SlowModel(clock), loader, loader)
    return memory.rows, trainer


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(step_timing, "time", clock)
    return clock


def test_times_are_means_over_the_window_without_validation(clock):
    rows, trainer = fit(clock)
    first = {
        "train/step_time_ms": 4000,
        "train/data_time_ms": 1000,
        "train/samples_per_s": 0.5,
    }  # an epoch's first data is not counted
    later = {"train/step_time_ms": 5000, "train/data_time_ms": 2000, "train/samples_per_s": 0.4}
    assert rows == [(2, first), (4, later), (6, first), (8, later)]
    assert not any("time" in name for name in trainer.callback_metrics)


def test_a_step_is_an_optimizer_step(clock):
    rows, _ = fit(clock, accumulate_grad_batches=2, max_epochs=1)
    assert rows == [(2, {"train/step_time_ms": 9000, "train/data_time_ms": 3000, "train/samples_per_s": 8 / 18})]


def test_nothing_is_logged_if_nothing_is_to_be(clock):
    assert fit(clock, log_every_n_steps=0)[0] == []
