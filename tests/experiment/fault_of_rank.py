"""One of two ranks, of which the second meets a NaN; started by test_faults.py."""

# ruff: noqa: I001 - mmkit comes first

import json
import os
import sys

import mmkit  # noqa: F401 - repairs Lightning's import of torchvision
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from mmkit.errors import NonFiniteError
from mmkit.experiment.faults import NonFiniteGuard
from mmkit.experiment.stops import Stops


class Model(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.trained = 0

    def training_step(self, batch, batch_idx):
        self.trained += 1
        loss = self.layer(batch).mean()
        return loss * float("nan") if batch_idx >= 13 and self.global_rank == 1 else loss.nan_to_num() * 0 + 1

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


class StopBetweenBatches(Callback):
    def __init__(self, stops):
        self.stops = stops

    def on_train_batch_start(self, trainer, model, batch, batch_idx):
        if self.stops.agreed():
            raise self.stops.error()


class Alone(LightningEnvironment):
    """Both ranks were started by the test."""

    @property
    def creates_processes_externally(self):
        return True


def main(rank: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="0", OMP_NUM_THREADS="1")
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    environment = Alone()
    environment.set_global_rank(rank)
    environment.local_rank = lambda: rank
    environment.set_world_size(2)
    stops, model = Stops(), Model()
    guard = NonFiniteGuard(folder, stops)
    strategy = DDPStrategy(process_group_backend="gloo", cluster_environment=environment)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "enable_progress_bar": False}
    callbacks = [StopBetweenBatches(stops), guard]
    trainer = Trainer(accelerator="cpu", devices=2, strategy=strategy, callbacks=callbacks, max_epochs=1, **quiet)
    try:
        trainer.fit(model, DataLoader(torch.zeros(100, 1)))
    except NonFiniteError as error:
        with open(f"{folder}/result-{rank}.json", "w") as file:
            json.dump({"trained": model.trained, "message": str(error)}, file)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
