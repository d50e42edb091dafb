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

    def on_train_epoch_end(self):
        self.log("train/loss", 0.25, logger=False)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


@pytest.fixture
def fit(tmp_path):
    def fit(bar, epochs=2):
        trainer = Trainer(accelerator="cpu", max_epochs=epochs, callbacks=[bar], logger=False, enable_checkpointing=False,
                          enable_model_summary=False, default_root_dir=tmp_path)  # fmt: skip
        trainer.fit(Line(), torch.utils.data.DataLoader(torch.zeros(6, 1)))
        return trainer

    return fit


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated"),
]


def test_without_a_terminal_there_is_one_line_per_epoch(fit, capsys):
    fit(TimedProgressBar())
    assert capsys.readouterr().out.splitlines() == ["epoch 1/2  step 6  train/loss 0.25", "epoch 2/2  step 12  train/loss 0.25"]


def test_redraws_are_as_far_apart_as_the_interval(monkeypatch):
    clock = iter([10.0, 10.05, 10.19, 10.21, 10.3])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    bar = TimedProgressBar(interval=0.2)
    assert [bar._is_due() for _ in range(5)] == [True, False, False, True, False]


def test_the_bar_shows_what_was_logged_last():
    assert TimedProgressBar().get_metrics(None, Line()) == {"loss": 0.5}
