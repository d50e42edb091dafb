"""Hidden transformations: what happens to the output of an encoder, and losses on what comes of it."""

from mmkit.hiddens import losses, transforms
from mmkit.hiddens.errors import HiddensError
from mmkit.hiddens.loss import BaseHiddenLoss
from mmkit.hiddens.pipeline import HiddensPipeline, get_hiddens_module
from mmkit.hiddens.registry import get_registered_hiddens, register_hidden_loss, register_hidden_transform
from mmkit.hiddens.transform import BaseHiddenTransform


__all__ = [
    "BaseHiddenLoss",
    "BaseHiddenTransform",
    "HiddensError",
    "HiddensPipeline",
    "get_hiddens_module",
    "get_registered_hiddens",
    "losses",
    "register_hidden_loss",
    "register_hidden_transform",
    "transforms",
]
