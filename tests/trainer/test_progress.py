import pytest
import torch
from lightning.pytorch import LightningModule, Trainer

from mmkit.trainer import progress
from mmkit.trainer.progress import TimedProgressBar


class Line(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.last_train_metrics = {"train/loss": 0.5}

    def training_step(self, batch, batch_idx):
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", 0.75, batch_size=1)

    test_step = validation_step

    def on_train_epoch_end(self):
        self.log("train/loss", 0.25, logger=False)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Collated(torch.utils.data.Dataset):
    """Batches as mmkit's collator makes them: they say how many samples they have."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return {"example_index": torch.tensor(index)}


class Clock:
    """A clock that a test puts forward: each training batch takes a second."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def make_trainer(tmp_path):
    def make_trainer(bar, **settings):
        defaults = {"max_epochs": 2, "num_sanity_val_steps": 0, "limit_val_batches": 0}
        return Trainer(accelerator="cpu", callbacks=[bar], logger=False, enable_checkpointing=False,
                       enable_model_summary=False, default_root_dir=tmp_path, **{**defaults, **settings})  # fmt: skip

    return make_trainer


@pytest.fixture
def fit(make_trainer):
    def fit(bar, **settings):
        trainer = make_trainer(bar, **settings)
        loader = torch.utils.data.DataLoader(Collated())
        trainer.fit(Line(), loader, loader)
        return trainer

    return fit


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
]


class SlowBar(TimedProgressBar):
    """Puts a clock forward at every training batch."""

    def __init__(self, clock, seconds=1.0, **settings):
        super().__init__(**settings)
        self.clock, self.seconds = clock, seconds

    def on_train_batch_end(self, *args):
        self.clock.now += self.seconds
        super().on_train_batch_end(*args)


def test_without_a_terminal_there_is_a_line_for_each_of_the_first_epochs(fit, capsys, clock):
    fit(TimedProgressBar())
    assert capsys.readouterr().out.splitlines() == ["epoch 1/2  step 6  train/loss 0.25", "epoch 2/2  step 12  train/loss 0.25"]


def test_many_short_epochs_have_few_lines_and_the_last_has_one(fit, capsys, clock):
    fit(TimedProgressBar(), max_epochs=30)
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == [*(f"{n}/30" for n in range(1, 11)), "30/30"]


def test_a_long_epoch_has_a_line_now_and_then_with_speed_time_left_and_metrics(fit, capsys, clock):
    fit(SlowBar(clock, seconds=20.0), max_epochs=1)
    assert capsys.readouterr().out.splitlines() == [
        "epoch 1/1  step 2/6  0.05 samples/s  1:20 left  loss 0.5  lr 0.1",
        "epoch 1/1  step 4/6  0.05 samples/s  0:40 left  loss 0.5  lr 0.1",
        "epoch 1/1  step 6/6  0.05 samples/s  loss 0.5  lr 0.1",
        "epoch 1/1  step 6  train/loss 0.25",
    ]


def test_validation_shows_its_loss_and_counts_neither_as_samples_nor_as_lines(fit, capsys, clock):
    class Slow(SlowBar):
        def on_validation_batch_end(self, *args):
            self.clock.now += 4
            super().on_validation_batch_end(*args)

    fit(Slow(clock), limit_val_batches=2)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "epoch 1/2  step 6  1.00 samples/s  0:16 left  train/loss 0.25  val/loss 0.75"
    assert second == "epoch 2/2  step 12  train/loss 0.25  val/loss 0.75"


def test_tests_have_no_lines_of_their_own(make_trainer, capsys, clock):
    make_trainer(TimedProgressBar()).test(Line(), torch.utils.data.DataLoader(Collated()), verbose=False)
    assert capsys.readouterr().out == ""


def test_a_disabled_bar_says_nothing(fit, capsys, clock):
    bar = TimedProgressBar()
    bar.disable()
    fit(bar)
    assert (bar.is_enabled, capsys.readouterr().out) == (False, "")


def test_redraws_are_as_far_apart_as_the_interval(fit, monkeypatch, clock):
    monkeypatch.setattr(progress, "is_possible", lambda: True)
    drawn = []
    monkeypatch.setattr(TimedProgressBar, "_draw", lambda self, status: drawn.append((status.label, status.done, status.total)))
    fit(SlowBar(clock, seconds=0.11, interval=0.2), max_epochs=1)
    assert drawn == [("epoch 1/1", 1, 6), ("epoch 1/1", 3, 6), ("epoch 1/1", 5, 6)]


def test_the_bar_shows_what_was_logged_last():
    assert TimedProgressBar().get_metrics(None, Line()) == {"loss": 0.5}
