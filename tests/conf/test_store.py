import functools
import textwrap

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mmkit.conf import GROUP_MODULES, external_store, fill_group, register_external_modules
from mmkit.conf.lazy_store import LazyConfigStore
from mmkit.conf.store import required_arguments


pytestmark = pytest.mark.usefixtures("clean_store")


class Part:
    def __init__(self, size: int, names: list[str] | None = None) -> None:
        self.size = size
        self.names = names


def _node(path):
    return ConfigStore.instance().load(f"{path}.yaml").node


def test_decorator_registers_at_once_and_presets_stack():
    external_store(external_store(Part, group="parts"), group="parts", name="big", size=9)
    assert OmegaConf.is_missing(_node("parts/Part"), "size")
    assert instantiate(_node("parts/big")).size == 9


def test_functions_register_as_they_are():
    assert external_store(textwrap.indent, group="parts") is textwrap.indent
    assert instantiate(_node("parts/indent"), text="a", prefix="> ") == "> a"


def test_components_get_plain_containers():
    external_store(Part, group="parts", size=1, names=["a"])
    assert type(instantiate(_node("parts/Part")).names) is list


def test_register_external_modules_takes_subclasses_only():
    register_external_modules(torch.nn.modules.pooling, "pools", base_cls=torch.nn.Module, ignore_prefix="Adaptive")
    names = ConfigStore.instance().list("pools")
    assert "MaxPool1d.yaml" in names
    assert not any(name.startswith(("Adaptive", "Module")) for name in names)


def test_required_arguments_are_missing_values():
    assert required_arguments(Part) == {"size": "???"}
    assert required_arguments(Part, supplied=["size"]) == {}


def test_store_stays_one_when_hydra_copies_it():
    import copy

    store = ConfigStore.instance()
    assert isinstance(store, LazyConfigStore)
    assert copy.deepcopy(store) is store


@pytest.mark.parametrize("group", sorted(set(GROUP_MODULES) - {"data"}))  # only projects bring recipes
def test_every_group_fills_when_it_is_looked_up(group):
    fill_group(group)
    assert ConfigStore.instance().list(group)


OPTIMIZERS = [cls for cls in vars(torch.optim).values() if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer)]


@pytest.mark.parametrize("cls", [cls for cls in OPTIMIZERS if cls is not torch.optim.Optimizer], ids=lambda cls: cls.__name__)
def test_every_torch_optimizer_is_a_partial_that_takes_parameters(cls):
    partial = instantiate(_node(f"modules/optimizers/{cls.__name__}"))
    assert isinstance(partial, functools.partial)
    assert isinstance(partial([torch.nn.Parameter(torch.zeros(2, 2))]), cls)


def test_schedulers_show_their_required_arguments():
    node = _node("modules/lr_schedulers/CosineAnnealingLR")
    assert OmegaConf.is_missing(node, "T_max")
    assert "optimizer" not in node
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
    assert instantiate(node, T_max=3)(optimizer).T_max == 3


def test_every_torch_scheduler_is_registered():
    from torch.optim import lr_scheduler

    expected = {f"{name}.yaml" for name in lr_scheduler.__all__ if name != "LRScheduler"}
    assert expected <= set(ConfigStore.instance().list("modules/lr_schedulers"))


def test_callbacks_and_loggers_of_lightning_are_registered_and_write_into_the_run_directory(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)  # no wandb must not hide the others
    assert {"EarlyStopping.yaml", "LearningRateMonitor.yaml", "ModelSummary.yaml", "TimedProgressBar.yaml"} <= set(
        ConfigStore.instance().list("trainer/callbacks")
    )
    assert {"CSVLogger.yaml", "TensorBoardLogger.yaml", "WandbLogger.yaml"} <= set(ConfigStore.instance().list("trainer/logger"))
    assert _node("trainer/callbacks/ModelCheckpoint")._get_node("dirpath")._value() == "${hydra:runtime.output_dir}/checkpoints"
    assert _node("trainer/logger/CSVLogger")._get_node("save_dir")._value() == "${hydra:runtime.output_dir}"
