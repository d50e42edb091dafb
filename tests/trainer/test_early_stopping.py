import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from torch.utils.data import DataLoader


pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
    pytest.mark.filterwarnings("ignore:.*dataloader is not resumable.*"),
]
LOSSES = [5.0, 4.0, 4.5, 3.0, 3.5, 3.25, 3.125, 1.0]  # patience 3 ends it after the seventh


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        self.log("val/loss", torch.tensor(LOSSES[self.current_epoch]))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


class SaveBetweenSteps(Callback):
    def __init__(self, directory):
        self.directory = directory

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        trainer.save_checkpoint(self.directory / f"{trainer.global_step}.ckpt")


def fit(*callbacks, ckpt_path=None):
    stopping = EarlyStopping("val/loss", patience=3)
    quiet = {
        "logger": False,
        "num_sanity_val_steps": 0,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
    }
    trainer = Trainer(accelerator="cpu", callbacks=[stopping, *callbacks], max_epochs=len(LOSSES), **quiet)
    loader = DataLoader(torch.zeros(3, 1))
    trainer.fit(Model(), loader, loader, ckpt_path=ckpt_path, weights_only=True)
    return trainer.global_step, {name: str(value) for name, value in stopping.state_dict().items()}


def test_a_run_resumed_at_any_step_stops_early_at_the_same_step(tmp_path):
    straight = fit(SaveBetweenSteps(tmp_path))
    assert straight[0] == 3 * 7
    assert len(list(tmp_path.iterdir())) == 3 * 7
    for path in tmp_path.iterdir():
        assert fit(ckpt_path=path) == straight, path.name
