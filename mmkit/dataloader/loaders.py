"""Loaders built from the configuration, where and when the trainer asks for them."""

from typing import Any

from hydra.utils import instantiate
from lightning.pytorch import LightningDataModule
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

from mmkit.dataloader.sampler import DistributedEvalSampler
from mmkit.datasets.core import CombinedDataset
from mmkit.errors import UsageError


class ConfiguredData(LightningDataModule):
    """The data of an experiment.

    Loaders are built on the process that uses them, so that they know its rank. With several processes and no sampler in the
    configuration, training data is divided with ``shuffle`` and ``drop_last`` as configured, and evaluation data is divided
    without shuffling or padding.

    Args:
        datasets: Per split, one data set's config or a mapping of names to configs.
        loaders: Per split, the ``DataLoader``'s config.
    """

    def __init__(self, datasets: DictConfig, loaders: DictConfig) -> None:
        super().__init__()
        self._datasets = datasets
        self._loaders = loaders

    def train_dataloader(self) -> DataLoader:
        return self._loader("train")

    def val_dataloader(self) -> DataLoader | list[DataLoader]:
        return self._loader("val") if self.has("val") else []

    def test_dataloader(self) -> DataLoader:
        return self._loader("test")

    def has(self, split: str) -> bool:
        """Whether any data set is configured for a split."""
        return bool(self._datasets[split])

    def _loader(self, split: str) -> DataLoader:
        if not self.has(split):
            raise UsageError(f"datasets.{split} is empty. Name a data set: /datasets@datasets.{split}.NAME: CLASS.")
        dataset = CombinedDataset(instantiate_datasets(self._datasets[split]))
        config = self._loaders[split]
        sampler = _build_sampler(config.sampler, dataset) or self._rank_sampler(split, config, dataset)
        batch_sampler = _build_sampler(config.batch_sampler, dataset)
        arguments = {"dataset": dataset, "sampler": sampler, "batch_sampler": batch_sampler}
        if sampler is not None:
            arguments["shuffle"] = None
        return instantiate(config, dataset=None, sampler=None, batch_sampler=None, _partial_=True)(**arguments)

    def _rank_sampler(self, split: str, config: DictConfig, dataset: Dataset) -> Any:
        if self.trainer is None or self.trainer.world_size == 1 or isinstance(dataset, IterableDataset):
            return None
        rank = {"num_replicas": self.trainer.world_size, "rank": self.trainer.global_rank}
        if split == "train":
            return DistributedSampler(dataset, shuffle=bool(config.shuffle), drop_last=config.drop_last, **rank)
        return DistributedEvalSampler(dataset, **rank)  # pyright: ignore[reportArgumentType]


def instantiate_datasets(config: DictConfig) -> dict[str, Dataset]:
    """Build one data set, or several from a mapping of names to configs; entries set to null are left out."""
    if "_target_" in config:
        return {"": instantiate(config)}
    return {str(name): instantiate(entry) for name, entry in config.items() if entry is not None}


def _build_sampler(config: DictConfig | None, dataset: Dataset) -> Any:
    """Build a sampler; its argument ``dataset`` or ``data_source``, left ``???``, is the combined data set."""
    if config is None:
        return None
    for name in ("dataset", "data_source"):
        if OmegaConf.is_missing(config, name):
            return instantiate(config, **{name: None}, _partial_=True)(**{name: dataset})
    return instantiate(config)
