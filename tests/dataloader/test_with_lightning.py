import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer


NOISY = "tests.dataloader.noisy"


class Recorder(LightningModule):
    """Remembers what it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[tuple] = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, batch["rgb"].tolist(), batch["noise"].tolist()))
        return self.weight

    def validation_step(self, batch, batch_idx):
        torch.rand(3)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


class SaveOnce(Callback):
    """Save before a batch is trained, as a run does."""

    def __init__(self, data, path, epoch: int, batch: int):
        self.data, self.path, self.place = data, path, (epoch, batch)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if (trainer.current_epoch, batch_idx) == self.place:
            self.data.mark(*self.place)
            trainer.save_checkpoint(self.path)


def fit(data, callbacks=(), ckpt_path=None, **settings) -> list[tuple]:
    module = Recorder()
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    settings = {"max_epochs": 3, "enable_checkpointing": False, "use_distributed_sampler": False} | quiet | settings
    data.trainer = None
    Trainer(callbacks=list(callbacks), **settings).fit(module, datamodule=data, ckpt_path=ckpt_path, weights_only=True)
    return module.seen


pytestmark = [
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended"),
    pytest.mark.filterwarnings("ignore:Your `IterableDataset` has `__len__` defined"),
]

KINDS = {
    "main process": {"shuffle": True},
    "persistent workers": {"shuffle": True, "num_workers": 1, "persistent_workers": True},
    "stream": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_is_resumed_is_trained_on_the_same_batches(make, kind, tmp_path):
    parts = {"a": {"_target_": f"{NOISY}.NoisyStream" if kind == "stream" else f"{NOISY}.Noisy", "size": 14}}

    def data():
        return make(parts, batch_size=4, **KINDS[kind])

    saved = [(1, 2)] if kind == "persistent workers" else [(0, 1), (1, 0), (1, 2), (2, 3)]
    first = data()
    callbacks = [SaveOnce(first, tmp_path / f"{epoch}-{batch}.ckpt", epoch, batch) for epoch, batch in saved]
    straight = fit(first, callbacks)
    assert [place[:2] for place in straight] == [(epoch, batch) for epoch in range(3) for batch in range(4)]
    assert len({str(batch[2:]) for batch in straight}) == 12
    for epoch, batch in saved:
        assert fit(data(), ckpt_path=str(tmp_path / f"{epoch}-{batch}.ckpt")) == straight[4 * epoch + batch :]


def test_overfitting_trains_on_the_same_batches_every_epoch(make):
    seen = fit(make({"a": {"size": 14}}, batch_size=4, shuffle=True), overfit_batches=2)
    assert [batch[2:] for batch in seen[:2]] == [batch[2:] for batch in seen[2:4]] == [batch[2:] for batch in seen[4:]]
    assert [batch[2] for batch in seen[:2]] == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_reloaded_loaders_start_at_the_present_epoch(make):
    def seen(**settings) -> list[tuple]:
        return fit(make({"a": {"size": 14}}, batch_size=4, shuffle=True, num_workers=1), limit_train_batches=2, **settings)

    assert seen(reload_dataloaders_every_n_epochs=1) == seen()
