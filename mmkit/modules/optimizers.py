"""Optimizers: every one of torch, as a partial that the training task calls with its parameters."""

import inspect

from torch import optim

from mmkit.conf.store import external_store, required_arguments


for _name, _cls in vars(optim).items():
    if inspect.isclass(_cls) and issubclass(_cls, optim.Optimizer) and _cls is not optim.Optimizer:
        external_store(
            _cls, group="modules/optimizers", name=_name, zen_partial=True, **required_arguments(_cls, supplied=["params"])
        )
