"""Losses (config group ``modules/losses``): contrastive ones, and every loss of torch under its own name."""

import inspect

from torch import nn
from torch.nn.modules import loss as torch_losses

from mmkit.conf import register_external_modules
from mmkit.modules.losses.contrastive import ContrastiveLoss
from mmkit.modules.losses.sigmoid import SigmoidLoss


__all__ = ["ContrastiveLoss", "SigmoidLoss"]

register_external_modules(
    torch_losses,
    group="modules/losses",
    base_cls=nn.Module,
    ignore_cls=[cls for cls in vars(torch_losses).values() if inspect.isclass(cls) and cls.__module__ != torch_losses.__name__],
)
