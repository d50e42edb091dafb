"""Encoders: a dictionary of tensors in, a tuple whose first item is the embedding out.

Importing this package fills the config group ``modules/encoders``; timm, transformers and peft are imported when an encoder
that needs them is built.
"""

from mmkit.modules.encoders.conv_encoder import ConvEncoder
from mmkit.modules.encoders.hf_clip import HFCLIPTextEncoder, HFCLIPVisionEncoder
from mmkit.modules.encoders.hf_text import HFTextEncoder
from mmkit.modules.encoders.identity import IdentityEncoder
from mmkit.modules.encoders.sequence_encoder import SequenceEncoder
from mmkit.modules.encoders.text_transformer import TextTransformer
from mmkit.modules.encoders.timm import TimmEncoder
from mmkit.modules.encoders.vision_transformer import VisionTransformer


__all__ = [
    "ConvEncoder",
    "HFCLIPTextEncoder",
    "HFCLIPVisionEncoder",
    "HFTextEncoder",
    "IdentityEncoder",
    "SequenceEncoder",
    "TextTransformer",
    "TimmEncoder",
    "VisionTransformer",
]
