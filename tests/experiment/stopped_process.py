"""A process that gets signals; started by test_stops.py. It prints ``ready``, and then how it ended."""

import os
import sys
import time

from mmkit.errors import MMKitError
from mmkit.experiment.stops import Stops, early_stop_signals


def train():
    """Train four times with two workers, until a signal comes."""
    import torch
    from lightning.pytorch import Callback, LightningModule, Trainer
    from torch.utils.data import DataLoader, Dataset

    def leave_process_group(worker):  # as the workers of mmkit's loaders do
        os.setpgrp()

    class SlowData(Dataset):
        def __len__(self):
            return 10_000

        def __getitem__(self, index):
            time.sleep(0.01)
            return torch.zeros(1)

    class Model(LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch, batch_idx):
            return self.weight.sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters())

    class StopBetweenBatches(Callback):
        def __init__(self):
            self.stops = Stops()

        def on_train_start(self, trainer, model):
            self.stops.install()

        def on_train_batch_start(self, trainer, model, batch, batch_idx):
            if batch_idx == 5:
                print("ready", flush=True)
            if self.stops.agreed():
                raise self.stops.error()

        def on_exception(self, trainer, model, exception):
            self.stops.restore()

    for _ in range(4):
        settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False, "enable_model_summary": False}
        trainer = Trainer(enable_progress_bar=False, callbacks=[StopBetweenBatches()], **settings)
        try:
            trainer.fit(Model(), DataLoader(SlowData(), num_workers=2, worker_init_fn=leave_process_group))
        except MMKitError as error:
            print(f"{type(error).__name__} {error.exit_code} {error.reason}", flush=True)


def wait():
    """A batch that goes on after the first Ctrl-C."""
    Stops().install()
    print("ready", flush=True)
    for _ in range(6000):
        time.sleep(0.01)


def prepare():
    """A preparation in which something swallows errors."""
    with early_stop_signals():
        try:
            print("ready", flush=True)
            time.sleep(60)
        except Exception:
            print("swallowed", flush=True)


def main(what: str) -> None:
    actions = {"train": train, "wait": wait, "prepare": prepare}
    try:
        actions[what]()
    except MMKitError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit("at once")


if __name__ == "__main__":
    main(sys.argv[1])
