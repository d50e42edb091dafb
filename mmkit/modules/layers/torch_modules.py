"""Every module class of ``torch.nn`` but the losses, which have a group of their own, as a config of ``modules/layers``."""

import inspect

from torch import nn
from torch.nn.modules import loss

from mmkit.conf.store import register_external_modules


register_external_modules(
    nn,
    group="modules/layers",
    base_cls=nn.Module,
    ignore_cls=[nn.DataParallel, *(cls for cls in vars(nn).values() if inspect.isclass(cls) and cls.__module__ == loss.__name__)],
)
