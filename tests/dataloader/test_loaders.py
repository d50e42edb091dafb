import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.data import DistributedSampler, RandomSampler, SequentialSampler, WeightedRandomSampler

from mmkit.conf.base import LoadersConf
from mmkit.dataloader.loaders import ConfiguredData
from mmkit.dataloader.sampler import CombinedDatasetRatioSampler, DistributedEvalSampler
from mmkit.datasets.core import Example
from mmkit.errors import UsageError


class Numbers(torch.utils.data.Dataset):
    def __init__(self, size: int = 10, offset: int = 0):
        self.size, self.offset = size, offset

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        if index >= self.size:
            raise IndexError
        return Example({"example_index": index, "rgb": torch.tensor(self.offset + index)})


class Ranks:
    """What the loaders ask of a trainer."""

    def __init__(self, world_size, global_rank):
        self.world_size, self.global_rank = world_size, global_rank


@pytest.fixture
def make(monkeypatch):
    """Loaders for ``datasets`` with the ``train`` and ``val`` loader settings given."""

    def make(datasets, trainer=None, **loader):
        loaders = OmegaConf.structured(LoadersConf)
        for split in ("train", "val", "test"):
            loaders[split] = OmegaConf.merge(loaders[split], {"pin_memory": False, **loader})
        target = {"_target_": f"{Numbers.__module__}.Numbers"}
        monkeypatch.setitem(__import__("sys").modules, Numbers.__module__, __import__("types").SimpleNamespace(Numbers=Numbers))
        entries = {
            split: {name: {**target, **arguments} for name, arguments in parts.items()} if parts is not None else None
            for split, parts in ({"train": None, "val": None, "test": None} | datasets).items()
        }
        data = ConfiguredData(OmegaConf.create(entries), loaders)
        data.trainer = trainer
        return data

    return make


def values(loader):
    return torch.cat([batch["rgb"] for batch in loader]).tolist()


def test_data_sets_of_a_split_are_combined_and_null_ones_left_out(make):
    data = make({"train": {"a": {"size": 3}, "b": {"size": 2, "offset": 100}}}, batch_size=2)
    batches = list(data.train_dataloader())
    assert torch.cat([batch["rgb"] for batch in batches]).tolist() == [0, 1, 2, 100, 101]
    assert torch.cat([batch["example_ids"]["rgb"] for batch in batches]).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1]]


def test_shuffle_is_as_configured(make):
    assert isinstance(make({"train": {"a": {}}}, shuffle=True).train_dataloader().sampler, RandomSampler)
    assert isinstance(make({"train": {"a": {}}}).train_dataloader().sampler, SequentialSampler)


def test_a_sampler_whose_data_set_is_missing_gets_it(make):
    sampler = {"_target_": "mmkit.dataloader.sampler.CombinedDatasetRatioSampler", "dataset": "???", "ratios": [1.0, 0.0]}
    data = make({"train": {"a": {"size": 3}, "b": {"size": 3, "offset": 100}}}, sampler=sampler)
    loader = data.train_dataloader()
    assert isinstance(loader.sampler, CombinedDatasetRatioSampler)
    assert max(values(loader)) < 100


def test_a_sampler_that_takes_no_data_set_is_built_as_it_is(make):
    sampler = {"_target_": "torch.utils.data.WeightedRandomSampler", "weights": [0.0, 1.0], "num_samples": 4}
    loader = make({"train": {"a": {}}}, sampler=sampler).train_dataloader()
    assert isinstance(loader.sampler, WeightedRandomSampler)
    assert values(loader) == [1, 1, 1, 1]


@pytest.mark.parametrize("shuffle", [True, False, None])
def test_several_ranks_divide_training_data_and_honour_shuffle(make, shuffle):
    loaders = [make({"train": {"a": {}}}, Ranks(2, rank), shuffle=shuffle).train_dataloader() for rank in (0, 1)]
    assert all(isinstance(loader.sampler, DistributedSampler) for loader in loaders)
    assert all(loader.sampler.shuffle == bool(shuffle) for loader in loaders)
    assert sorted(values(loaders[0]) + values(loaders[1])) == list(range(10))


def test_several_ranks_see_each_evaluation_example_once_without_padding(make):
    loaders = [make({"val": {"a": {"size": 7}}}, Ranks(2, rank), shuffle=None).val_dataloader() for rank in (0, 1)]
    assert all(isinstance(loader.sampler, DistributedEvalSampler) for loader in loaders)
    assert sorted(values(loaders[0]) + values(loaders[1])) == list(range(7))


def test_a_split_without_data_is_named(make):
    with pytest.raises(UsageError, match=r"datasets.train is empty. Name a data set: /datasets@datasets.train.NAME: CLASS"):
        make({}).train_dataloader()
    assert make({}).val_dataloader() == []
