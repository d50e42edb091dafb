"""Learning-rate schedulers: every one of torch, as a partial that the training task calls with its optimizer."""

import inspect

from torch.optim import lr_scheduler

from mmkit.conf.store import external_store, required_arguments


for _name in lr_scheduler.__all__:
    _cls = getattr(lr_scheduler, _name)
    if inspect.isclass(_cls) and issubclass(_cls, lr_scheduler.LRScheduler) and _cls is not lr_scheduler.LRScheduler:
        external_store(
            _cls, group="modules/lr_schedulers", name=_name, zen_partial=True, **required_arguments(_cls, supplied=["optimizer"])
        )
