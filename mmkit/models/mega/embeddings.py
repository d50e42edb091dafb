"""Tokens, and where asked for their types, as vectors. Positions are the moving average's and the bias's business."""

from torch import Tensor, nn
from transformers.utils import logging

from mmkit.models.mega.configuration import MegaConfig


logger = logging.get_logger(__name__)


# Shapes: B batch, L positions, D hidden_size.
class MegaEmbeddings(nn.Module):
    """Embed tokens, plus their types with ``add_token_type_embeddings``."""

    def __init__(self, config: MegaConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = (
            nn.Embedding(config.type_vocab_size, config.hidden_size) if config.add_token_type_embeddings else None
        )

    def forward(self, ids_BL: Tensor | None = None, types_BL: Tensor | None = None, embedded_BLD: Tensor | None = None) -> Tensor:
        """The vectors (B, L, D) of ``ids_BL``, or ``embedded_BLD`` in their place; without ``types_BL`` all are of type 0.

        Raises:
            ValueError: If not exactly one of ids and vectors is given.
        """
        if (ids_BL is None) == (embedded_BLD is None):
            given = "neither" if ids_BL is None else "both"
            raise ValueError(f"Give either input_ids or inputs_embeds; {given} was given.")
        x_BLD = self.word_embeddings(ids_BL) if embedded_BLD is None else embedded_BLD
        if self.token_type_embeddings is not None:
            table = self.token_type_embeddings
            return x_BLD + (table.weight[0] if types_BL is None else table(types_BL))
        if types_BL is not None:
            logger.warning_once("token_type_ids have no effect: this model has add_token_type_embeddings=False.")
        return x_BLD
