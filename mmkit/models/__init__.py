"""Models that tasks train: any of Hugging Face's with a head, Mega, encoder–decoders, encoders of several modalities as one.

Importing this package fills the config group ``models``, and adds Mega to ``modules/encoders``; transformers and
:mod:`mmkit.models.mega` are imported when a model is built.
"""

from mmkit.models.encoder_decoder import EncoderDecoder
from mmkit.models.hf_model import HFModel
from mmkit.models.mega_encoder import MegaEncoder
from mmkit.models.mega_with_head import MegaWithHead


__all__ = ["EncoderDecoder", "HFModel", "MegaEncoder", "MegaWithHead"]
