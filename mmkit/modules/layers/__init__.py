"""Layers that any model can use, and every module of torch under its own name (config group ``modules/layers``)."""

import mmkit.modules.layers.torch_modules  # noqa: F401
from mmkit.modules.layers.attention import Attention
from mmkit.modules.layers.conv_embedding import ConvEmbedding
from mmkit.modules.layers.drop_path import DropPath
from mmkit.modules.layers.image_normalize import ImageNormalize
from mmkit.modules.layers.l2_norm import L2Norm
from mmkit.modules.layers.layer_scale import LayerScale
from mmkit.modules.layers.logit_scaling import LearnableLogitScaling
from mmkit.modules.layers.mlp import MLP
from mmkit.modules.layers.patch_dropout import PatchDropout
from mmkit.modules.layers.patch_embedding import PatchEmbedding
from mmkit.modules.layers.pooling import AttentionPool, TokenPool
from mmkit.modules.layers.sequence import FeedForward, Perceiver, SequenceAttention, SequenceBlock
from mmkit.modules.layers.transformer_block import TransformerBlock


__all__ = [
    "MLP",
    "Attention",
    "AttentionPool",
    "ConvEmbedding",
    "DropPath",
    "FeedForward",
    "ImageNormalize",
    "L2Norm",
    "LayerScale",
    "LearnableLogitScaling",
    "PatchDropout",
    "PatchEmbedding",
    "Perceiver",
    "SequenceAttention",
    "SequenceBlock",
    "TokenPool",
    "TransformerBlock",
]
