"""What self-supervised tasks hide: random tokens, spans of text, blocks of patches, the targets of I-JEPA."""

from mmkit.datasets.masking.bart import BARTDenoising
from mmkit.datasets.masking.blockwise import BlockwisePatchMaskGenerator
from mmkit.datasets.masking.ijepa import IJEPAMaskGenerator, IJEPAMasks
from mmkit.datasets.masking.patches import patch_indices
from mmkit.datasets.masking.random_tokens import IGNORED_LABEL, RandomMaskGenerator, mask_random_tokens
from mmkit.datasets.masking.sentinels import restore_text
from mmkit.datasets.masking.t5 import T5SpanCorruption
from mmkit.datasets.masking.ul2 import UL2Denoising


__all__ = [
    "IGNORED_LABEL",
    "BARTDenoising",
    "BlockwisePatchMaskGenerator",
    "IJEPAMaskGenerator",
    "IJEPAMasks",
    "RandomMaskGenerator",
    "T5SpanCorruption",
    "UL2Denoising",
    "mask_random_tokens",
    "patch_indices",
    "restore_text",
]
