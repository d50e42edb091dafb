"""How well sequences are predicted from their latents, over all examples of an epoch."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmkit.conf import external_store
from mmkit.constants import IGNORED_LABEL
from mmkit.modules.metrics.token_prediction import TokenPrediction


NO_TOKEN = -1  # no id, and not IGNORED_LABEL either


# Shapes: B sequences, T target tokens, G generated tokens, V ids of the vocabulary.
def exact_matches(ids_BG: Tensor, labels_BT: Tensor) -> Tensor:
    """Which generated sequences are their targets, token by token.

    Args:
        ids_BG: Generated ids (B, G), with their end token; what stands after it does not count.
        labels_BT: Right ids (B, T), with their end token, then :data:`IGNORED_LABEL`.

    Returns:
        Bool (B,).

    Example:
        >>> exact_matches(torch.tensor([[5, 2, 0], [5, 6, 2]]), torch.tensor([[5, 2], [5, 2]]))
        tensor([ True, False])
    """
    length = labels_BT.shape[1]
    ids_BT = F.pad(ids_BG[:, :length], (0, max(length - ids_BG.shape[1], 0)), value=NO_TOKEN)
    return ((ids_BT == labels_BT) | (labels_BT == IGNORED_LABEL)).all(1)


@external_store(group="modules/metrics")
class SequenceReconstruction(TokenPrediction):
    """What an encoder–decoder's evaluation logs: ratios of sums over all tokens, or all examples, of an epoch and of all ranks.

    Tokens are predicted from the right ones before them (teacher forcing); sequences that are decoded without these are counted
    as a whole.

    Args:
        label_smoothing: Of the loss.
        **kwargs: Options of ``torchmetrics.Metric``.

    Example:
        >>> metric = SequenceReconstruction()
        >>> metric.update(torch.zeros(1, 2, 4), torch.tensor([[1, 0]]))
        >>> {name: round(value.item(), 4) for name, value in metric.compute().items() if name != "loss"}
        {'perplexity': 4.0, 'accuracy': 0.5, 'loss_per_example': 2.7726}
    """

    num_examples: Tensor
    num_tried: Tensor
    num_exact: Tensor

    def __init__(self, label_smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(label_smoothing, **kwargs)
        for name in ("num_examples", "num_tried", "num_exact"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        logits_BTV: Tensor,
        labels_BT: Tensor,
        num_bytes: Tensor | int = 0,
        decoded_NG: Tensor | None = None,
    ) -> None:
        """Take in a batch.

        Args:
            logits_BTV: Scores (B, T, V).
            labels_BT: Right ids (B, T), -100 where nothing is predicted.
            num_bytes: Bytes of the text that the predicted tokens stand for; 0 if unknown.
            decoded_NG: What was decoded without the target (N, G), for the first N examples; see :func:`exact_matches`.
        """
        super().update(logits_BTV, labels_BT, num_bytes)
        self.num_examples = self.num_examples + len(labels_BT)
        if decoded_NG is not None:
            self.num_exact = self.num_exact + exact_matches(decoded_NG, labels_BT[: len(decoded_NG)]).sum()
            self.num_tried = self.num_tried + len(decoded_NG)

    def compute(self) -> dict[str, Tensor]:
        """The ratios of an epoch; none if no token was predicted.

        Returns:
            Those of ``TokenPrediction``, then ``loss_per_example`` (of a whole sequence) and, where any was decoded,
            ``exact_match``.
        """
        ratios = super().compute()
        if not ratios:
            return {}
        ratios["loss_per_example"] = self.loss.double() / self.num_examples
        return ratios | ({"exact_match": self.num_exact / self.num_tried} if self.num_tried else {})
