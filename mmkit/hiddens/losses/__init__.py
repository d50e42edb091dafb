"""Losses on named hidden states (config group ``hiddens/loss``)."""

from mmkit.hiddens.losses.a_mim import AMIMLoss
from mmkit.hiddens.losses.guided_cls_loss import GuidedClsLoss
from mmkit.hiddens.losses.iwae import IWAELoss
from mmkit.hiddens.losses.s_mim import SMIMLoss
from mmkit.hiddens.losses.vae import VAELoss


__all__ = ["AMIMLoss", "GuidedClsLoss", "IWAELoss", "SMIMLoss", "VAELoss"]
