"""Features that need no encoder."""

from collections.abc import Mapping

from torch import Tensor, nn

from mmkit.conf.store import external_store
from mmkit.datasets.core import Modalities
from mmkit.modules.encoders.inputs import modality_input


@external_store(group="modules/encoders")
class IdentityEncoder(nn.Module):
    """Hand on features that were computed before.

    Args:
        modality: The modality whose features are read.
    """

    def __init__(self, modality: str = "rgb") -> None:
        super().__init__()
        self.modality = Modalities.get_modality(modality).name

    def forward(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """The features as they are, (B, D) or (B, N, D)."""
        return (modality_input(inputs, self.modality),)
