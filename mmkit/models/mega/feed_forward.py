"""The normalized feed-forward layer that follows the attention of a block (arXiv 2209.10655, Mega blocks)."""

from torch import Tensor, nn
from transformers.activations import ACT2FN

from mmkit.models.mega.configuration import MegaConfig
from mmkit.models.mega.dropout import dropout_layer
from mmkit.models.mega.norms import SequenceNorm


# Shapes: B batch, L positions, D hidden_size.
class NormalizedFeedForward(nn.Module):
    """``x + fc2(activation(fc1(norm(x))))``, or the norm of the sum with ``normalize_before_ffn=False``."""

    def __init__(self, config: MegaConfig) -> None:
        super().__init__()
        self.normalize_before = config.normalize_before_ffn
        self.norm = SequenceNorm(config.normalization_type, config.hidden_size, affine=config.norm_affine)
        self.fc1 = nn.Linear(config.hidden_size, config.nffn_hidden_size)
        self.fc2 = nn.Linear(config.nffn_hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.activation]
        self.hidden_dropout = dropout_layer(config.nffn_activation_dropout_prob, config.use_feature_dropout)
        self.dropout = dropout_layer(config.dropout_prob, config.use_feature_dropout)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        """Transform each position; ``mask_BL`` keeps pads out of batch statistics."""
        inner_BLD = self.norm(x_BLD, mask_BL) if self.normalize_before else x_BLD
        hidden = self.hidden_dropout(self.activation(self.fc1(inner_BLD)))
        y_BLD = x_BLD + self.dropout(self.fc2(hidden))
        return y_BLD if self.normalize_before else self.norm(y_BLD, mask_BL)
