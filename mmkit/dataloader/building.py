"""One loader, built from its configuration and its data sets."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, default_collate, default_convert

from mmkit import rng
from mmkit.dataloader.activity import ActivityBoard
from mmkit.dataloader.batch_randomness import BatchRandomness, SeededCollator
from mmkit.dataloader.foreign_order import ForeignBatchOrder, ForeignOrder, Replica
from mmkit.dataloader.order import EpochBatches, Order, SampledOrder
from mmkit.dataloader.sampler import DistributedEvalSampler, RankSampler
from mmkit.dataloader.seeded import SeededDataset, SeededStream, StreamEpoch
from mmkit.dataloader.training_sampler import TrainingSampler
from mmkit.dataloader.watched import WatchedLoader
from mmkit.errors import UsageError


logger = logging.getLogger(__name__)

TORCHS_LOADERS = ("torch.utils.data.DataLoader", "torch.utils.data.dataloader.DataLoader")


@dataclass(frozen=True)
class Place:
    """Where a loader stands.

    Args:
        key: Names the run and the split.
        replica: The rank that it reads for.
        training: Whether its draws change from epoch to epoch and are divided evenly over the ranks.
        epoch: The first epoch.
        start_batch: Where the first epoch starts.
        constant: Repeat the first epoch, without shuffling.
    """

    key: int
    replica: Replica
    training: bool = False
    epoch: int = 0
    start_batch: int = 0
    constant: bool = False


def build_loader(config: DictConfig, datasets: Mapping[str, Dataset], place: Place) -> DataLoader:
    """Build a loader.

    Args:
        config: The ``DataLoader``'s config. Where its class is torch's, a :class:`WatchedLoader` is built.
        datasets: Named data sets, which are combined.
        place: Where the loader stands.
    """
    target = WatchedLoader if config._target_ in TORCHS_LOADERS else None
    build = instantiate(config, dataset=None, sampler=None, batch_sampler=None, _partial_=True)
    randomness, board = BatchRandomness(), ActivityBoard(config.num_workers)
    collate = build.keywords["collate_fn"] or (default_convert if _is_single(config) else default_collate)
    settings = {
        **build.keywords,
        "collate_fn": SeededCollator(collate, randomness, board),
        "generator": build.keywords["generator"] or torch.Generator().manual_seed(rng.derived_key(place.key, "workers")),
    }
    build = target or build.func
    if any(isinstance(dataset, IterableDataset) for dataset in datasets.values()):
        constant = place.constant or not place.training
        stream = SeededStream(datasets, place.key, randomness, board, place.epoch, place.start_batch, constant)
        return _stream_loader(build, settings, config, stream)
    dataset = SeededDataset(datasets, place.key, randomness, board)
    return _map_loader(build, settings, config, dataset, place)


def _map_loader(build: Any, settings: dict[str, Any], config: DictConfig, dataset: SeededDataset, place: Place) -> DataLoader:
    order = _order(config, dataset, place)
    batches = EpochBatches(order, place.epoch, place.start_batch, constant=place.constant or not place.training)
    settings |= {"dataset": dataset, "batch_size": 1, "shuffle": None, "drop_last": False}
    if _is_single(config):
        return build(**settings | {"batch_size": None, "sampler": batches})
    return build(**settings | {"sampler": None, "batch_sampler": batches})


def _stream_loader(build: Any, settings: dict[str, Any], config: DictConfig, stream: SeededStream) -> DataLoader:
    if stream.start_batch and build is not WatchedLoader:
        logger.warning("%s cannot resume in the middle of an epoch of streamed data; the epoch starts anew.", config._target_)
    samplers = {name: _build_sampler(config[name], stream) for name in ("sampler", "batch_sampler")}
    loader = build(**settings | {"dataset": stream, **samplers})
    vars(loader)["sampler"] = StreamEpoch(stream)  # torch accepts no sampler for a stream, but Lightning looks there
    return loader


def _order(config: DictConfig, dataset: SeededDataset, place: Place) -> Order:
    sampler, batch_sampler = _build_sampler(config.sampler, dataset), _build_sampler(config.batch_sampler, dataset)
    batch_size, drop_last = config.batch_size or 1, config.drop_last
    if batch_sampler is not None and (sampler is not None or batch_size != 1 or config.shuffle or drop_last):
        raise UsageError("A loader with `batch_sampler` takes no `batch_size`, `shuffle`, `sampler` or `drop_last`: leave them.")
    if type(batch_sampler) is BatchSampler:
        sampler, batch_size, drop_last = batch_sampler.sampler, batch_sampler.batch_size, batch_sampler.drop_last
    elif batch_sampler is not None:
        return ForeignBatchOrder(batch_sampler, place.replica, place.key)
    if sampler is None:
        sampler = _default_sampler(config, dataset, place)
    if isinstance(sampler, RankSampler):
        return SampledOrder(sampler, batch_size, drop_last)
    return ForeignOrder(sampler, batch_size, drop_last, place.replica, place.key)


def _default_sampler(config: DictConfig, dataset: SeededDataset, place: Place) -> RankSampler:
    shuffle = bool(config.shuffle) and not place.constant
    rank, count = place.replica
    if place.training:
        return TrainingSampler(dataset, shuffle, config.drop_last, count, rank, seed=place.key)
    return DistributedEvalSampler(dataset, count, rank, shuffle, seed=place.key)


def _build_sampler(config: DictConfig | None, dataset: Dataset) -> Any:
    """Build a sampler; its argument ``dataset`` or ``data_source``, left ``???``, is the combined data set."""
    if config is None:
        return None
    for name in ("dataset", "data_source"):
        if OmegaConf.is_missing(config, name):
            return instantiate(config, **{name: None}, _partial_=True)(**{name: dataset})
    return instantiate(config)


def _is_single(config: DictConfig) -> bool:
    """Whether the loader makes no batches."""
    return config.batch_size is None and config.batch_sampler is None
