"""What self-supervised tasks hide: random tokens, blocks of patches, the targets of I-JEPA."""

from mmkit.datasets.masking.blockwise import BlockwisePatchMaskGenerator
from mmkit.datasets.masking.ijepa import IJEPAMaskGenerator, IJEPAMasks
from mmkit.datasets.masking.patches import patch_indices
from mmkit.datasets.masking.random_tokens import IGNORED_LABEL, RandomMaskGenerator, mask_random_tokens


__all__ = [
    "IGNORED_LABEL",
    "BlockwisePatchMaskGenerator",
    "IJEPAMaskGenerator",
    "IJEPAMasks",
    "RandomMaskGenerator",
    "mask_random_tokens",
    "patch_indices",
]
