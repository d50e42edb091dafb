"""The tables of other libraries' classes have everything that the installed versions offer."""

import inspect

import pytest
import torch.optim.lr_scheduler as schedulers
import torch.utils.data
from lightning.pytorch import callbacks, loggers
from lightning.pytorch.loggers.logger import DummyLogger
from torch import nn, optim
from torch.nn.modules import loss
from torch.utils.data import Sampler

from mmkit.conf import external_store, fill_group


def _classes(module, base):
    found = {name: cls for name, cls in vars(module).items() if inspect.isclass(cls) and issubclass(cls, base)}
    return {name: cls for name, cls in found.items() if name[0] != "_" and cls is not base and not inspect.isabstract(cls)}


def _listed(module, base):
    return {name: cls for name, cls in _classes(module, base).items() if name in module.__all__}


ABSTRACT_CALLBACKS = {"ProgressBar", "BaseFinetuning", "Checkpoint", "BasePredictionWriter"}
OFFERED = {
    "modules/optimizers": _classes(optim, optim.Optimizer),
    "modules/lr_schedulers": _listed(schedulers, schedulers.LRScheduler),
    "modules/layers": {
        name: cls
        for name, cls in _classes(nn, nn.Module).items()
        if cls.__module__ != loss.__name__ and cls is not nn.DataParallel
    },
    "modules/losses": {name: cls for name, cls in _classes(loss, nn.Module).items() if cls.__module__ == loss.__name__},
    "trainer/callbacks": {
        name: cls for name, cls in _classes(callbacks, callbacks.Callback).items() if name not in ABSTRACT_CALLBACKS
    },
    "trainer/logger": {name: cls for name, cls in _listed(loggers, loggers.Logger).items() if cls is not DummyLogger},
    "dataloader/sampler": _classes(torch.utils.data, Sampler),
}


@pytest.mark.parametrize("group", OFFERED)
def test_every_class_of_the_library_is_registered_under_its_name(group):
    fill_group(group)
    entries = {str(entry["name"]): entry["node"] for entry in external_store if entry["group"] == group}
    targets = {name: node._target_ for name, node in entries.items() if not node._target_.startswith(("mmkit.", "projects."))}
    expected = {name: f"{cls.__module__}.{cls.__qualname__}" for name, cls in OFFERED[group].items()}
    theirs = {name: target for name, target in targets.items() if target.split(".")[0] in ("torch", "lightning")}
    assert theirs == expected
