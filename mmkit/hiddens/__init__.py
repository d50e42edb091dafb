"""Hidden transformations: what happens to the output of an encoder, and losses on what comes of it."""

from mmkit.hiddens.loss import BaseHiddenLoss
from mmkit.hiddens.transform import BaseHiddenTransform


__all__ = ["BaseHiddenLoss", "BaseHiddenTransform"]
