import pytest
from omegaconf import OmegaConf

from mmkit.conf.base import LoadersConf
from mmkit.dataloader.loaders import ConfiguredData


class Ranks:
    """What the loaders ask of a trainer."""

    def __init__(self, world_size, global_rank):
        self.world_size, self.global_rank = world_size, global_rank


@pytest.fixture
def make():
    """Data modules with ``parts`` as data sets of every split and the settings given for every loader."""

    def make(parts=None, ranks=(1, 0), seed=0, divide=True, **loader):
        parts = {"a": {}} if parts is None else parts
        entries = {name: {"_target_": "tests.dataloader.noisy.Noisy", **arguments} for name, arguments in parts.items()}
        loaders = OmegaConf.structured(LoadersConf)
        for split in loaders:
            loaders[split] = OmegaConf.merge(loaders[split], {"pin_memory": False, **loader})
        data = ConfiguredData(OmegaConf.create(dict.fromkeys(("train", "val", "test"), entries)), loaders, seed, divide)
        data.trainer = Ranks(*ranks)
        return data

    return make
