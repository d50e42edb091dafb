"""Loaders built from the configuration, where and when the trainer asks for them."""

import logging
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch import LightningDataModule
from omegaconf import DictConfig
from torch.utils.data import DataLoader, Dataset

from mmkit import rng
from mmkit.dataloader.building import Place, build_loader
from mmkit.dataloader.digests import configured_digest, dataset_digest
from mmkit.dataloader.foreign_order import Replica
from mmkit.distributed import replica
from mmkit.errors import UsageError


logger = logging.getLogger(__name__)


class ConfiguredData(LightningDataModule):
    """The data of an experiment, in an order and with random numbers that a resumed run repeats exactly.

    Order, augmentation and random batch processors are functions of (seed, epoch, position), so all there is to save is which
    batch comes next. Validation and test draw the same numbers every time. Nothing is drawn from the generators that training
    uses. What a streamed data set has yielded so far in an epoch is read again, and discarded, on resume.

    Data is divided over the ranks here, so the trainer needs ``use_distributed_sampler=False``. Training data is divided evenly:
    without ``drop_last``, the first examples fill up the last round. Evaluation data is divided without repetition. Samplers of
    the configuration that divide themselves, as mmkit's do, are left to it.

    Args:
        datasets: Per split, one data set's config or a mapping of names to configs.
        loaders: Per split, the ``DataLoader``'s config. Another class than torch's gets data set, batch sampler and collator
            like torch's, but does not tell of dead workers, and cannot resume in the middle of an epoch of streamed data.
        seed: Seed of the run. Samplers of the configuration have their own.
        divide: Whether to divide the data over ranks; otherwise every rank reads all of it.
    """

    def __init__(self, datasets: DictConfig, loaders: DictConfig, seed: int = 0, divide: bool = True) -> None:
        super().__init__()
        self._datasets, self._loaders = datasets, loaders
        self._seed, self._divide = seed, divide
        self._next: tuple[int, int] | None = None
        self._built: dict[str, dict[str, Dataset]] = {}

    def train_dataloader(self) -> DataLoader:
        return self._loader("train", *self._start())

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        return self._loader("val") if self.has("val") else []

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def has(self, split: str) -> bool:
        """Whether any data set is configured for a split."""
        return bool(self._datasets[split])

    def mark(self, epoch: int, batch: int) -> None:
        """Say which batch is the next to be trained; a loader built from now on, in this run or a resumed one, starts there."""
        self._next = epoch, batch

    def state_dict(self) -> dict[str, Any]:
        """The next epoch and batch, as marked, and the global batch size by which batches are counted."""
        epoch, batch = self._next or (0, 0)
        return {"epoch": epoch, "batch": batch, "global_batch_size": self._batch_size_now()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Start the next training loader where ``state_dict`` says; at about the same example if the batch size changed."""
        epoch, batch = state_dict["epoch"], state_dict["batch"]
        before, now = state_dict["global_batch_size"], self._batch_size_now()
        if batch and before and now and before != now:
            batch = batch * before // now
            logger.warning(
                "The global batch size was %d and is now %d. Epoch %d goes on at batch %d, at about the same example.",
                *(before, now, epoch, batch),
            )
        self._next = epoch, batch

    def digests(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Per split and data set: its ``class`` and a hash of its ``config``.

        For data sets that have been built, also their ``length``, and as ``digest`` what their method ``digest()`` or attribute
        ``fingerprint`` says, if they have one. Nothing is built for it.
        """
        return {
            split: {
                name: configured_digest(entry)
                | (dataset_digest(self._built[split][name]) if name in self._built.get(split, {}) else {})
                for name, entry in _entries(self._datasets[split]).items()
            }
            for split in ("train", "val", "test")
            if self.has(split)
        }

    def _replica(self) -> Replica:
        if not self._divide:
            return Replica(0, 1)
        return Replica(*replica()) if self.trainer is None else Replica(self.trainer.global_rank, self.trainer.world_size)

    def _batch_size_now(self) -> int | None:
        """Examples of a training batch over all ranks; None if only the sampler knows."""
        config = self._loaders.train
        size = (config.batch_size or 1) if config.batch_sampler is None else config.batch_sampler.get("batch_size")
        return size and size * self._replica().count

    def _start(self) -> tuple[int, int]:
        """Epoch and batch at which training starts."""
        return self._next or (getattr(self.trainer, "current_epoch", 0), 0)

    def _loader(self, split: str, epoch: int = 0, start_batch: int = 0) -> DataLoader:
        if not self.has(split):
            raise UsageError(f"datasets.{split} is empty. Name a data set: /datasets@datasets.{split}.NAME: CLASS.")
        key = rng.derived_key(self._seed, split)
        training = split == "train"
        constant = training and bool(getattr(self.trainer, "overfit_batches", 0))
        place = Place(key, self._replica(), training, epoch, start_batch, constant)
        with rng.preserved():
            rng.seed_all(rng.derived_key(key, "build"))
            self._built[split] = instantiate_datasets(self._datasets[split])
            return build_loader(self._loaders[split], self._built[split], place)


def instantiate_datasets(config: DictConfig) -> dict[str, Dataset]:
    """Build one data set, or several from a mapping of names to configs; entries set to null are left out."""
    return {name: instantiate(entry) for name, entry in _entries(config).items()}


def _entries(config: DictConfig) -> dict[str, Any]:
    if "_target_" in config:
        return {"": config}
    return {str(name): entry for name, entry in config.items() if entry is not None}
