"""Transforms of images and texts: a data set applies them to one example, or a batch processor to a list of texts."""

from mmkit.datasets.transforms.compose import Compose
from mmkit.datasets.transforms.image import RepeatChannels, image_augmentation, image_eval_transform, image_train_transform
from mmkit.datasets.transforms.text import RandomWordDrop, RandomWordSwap, TrimText
from mmkit.datasets.transforms.timm import timm_transform


__all__ = [
    "Compose",
    "RandomWordDrop",
    "RandomWordSwap",
    "RepeatChannels",
    "TrimText",
    "image_augmentation",
    "image_eval_transform",
    "image_train_transform",
    "timm_transform",
]
