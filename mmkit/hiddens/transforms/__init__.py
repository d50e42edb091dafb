"""Transformations of hidden states (config group ``hiddens/transform``)."""

from mmkit.hiddens.transforms.cond_gaussian import CondGaussian
from mmkit.hiddens.transforms.guided_cls import GuidedCls
from mmkit.hiddens.transforms.mean_pool import MeanPool
from mmkit.hiddens.transforms.mixture_of_experts import MixtureOfExperts
from mmkit.hiddens.transforms.perceiver import PerceiverBottleneck
from mmkit.hiddens.transforms.product_of_experts import ProductOfExperts


__all__ = ["CondGaussian", "GuidedCls", "MeanPool", "MixtureOfExperts", "PerceiverBottleneck", "ProductOfExperts"]
