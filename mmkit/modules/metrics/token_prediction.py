"""Loss, perplexity, bits per byte and accuracy of predicted tokens, each a ratio of sums over an epoch."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from mmkit.conf import external_store
from mmkit.constants import IGNORED_LABEL


MAX_EXPONENT = 700.0  # exp of more is infinite in double precision


# Shapes: B texts, L tokens, V ids of the vocabulary.
class TokenSums(NamedTuple):
    """Sums over the predicted tokens of a batch, all scalars; those whose label is :data:`IGNORED_LABEL` do not count.

    Attributes:
        loss: Cross entropy with label smoothing, in nats; the one that has a gradient.
        nll: Negative log-likelihood, in nats: the cross entropy without smoothing.
        num_tokens: How many tokens are predicted.
        num_correct: Of how many the right one has the highest score.
    """

    loss: Tensor
    nll: Tensor
    num_tokens: Tensor
    num_correct: Tensor


def token_sums(logits_BLV: Tensor, labels_BL: Tensor, label_smoothing: float = 0.0) -> TokenSums:
    """Compare scores with labels.

    Args:
        logits_BLV: Scores (B, L, V) of every token; half precision is widened to fp32.
        labels_BL: Right ids (B, L); :data:`IGNORED_LABEL` where nothing is predicted.
        label_smoothing: Share of the target that is spread over the vocabulary, see ``torch.nn.CrossEntropyLoss``.

    Example:
        >>> sums = token_sums(torch.zeros(1, 3, 4), torch.tensor([[1, 0, -100]]))
        >>> sums.num_tokens.item(), round(sums.nll.exp().item(), 4)
        (2, 16.0)
    """
    logits_NV, labels_N = logits_BLV.flatten(0, -2), labels_BL.flatten()
    if logits_NV.dtype in (torch.bfloat16, torch.float16):
        logits_NV = logits_NV.float()
    loss = F.cross_entropy(logits_NV, labels_N, reduction="sum", label_smoothing=label_smoothing)
    with torch.no_grad():
        nll = F.cross_entropy(logits_NV, labels_N, reduction="sum") if label_smoothing else loss.detach()
        num_tokens = (labels_N != IGNORED_LABEL).sum()
        num_correct = (logits_NV.argmax(-1) == labels_N).sum()  # no id is IGNORED_LABEL
    return TokenSums(loss, nll, num_tokens, num_correct)


def token_ratios(sums: Mapping[str, float]) -> dict[str, float]:
    """What a log says, from sums (or means) by the names of :class:`TokenSums`, and ``num_bytes`` where bytes are known.

    Returns:
        ``loss``, ``perplexity`` = exp(nll / token), ``accuracy``, and with bytes ``bits_per_byte`` = nll / ln 2 / byte; nothing
        at all where no token was predicted.

    Example:
        >>> token_ratios({"loss": 4.0, "nll": 4 * math.log(2), "num_tokens": 4, "num_correct": 1, "num_bytes": 2})
        {'loss': 1.0, 'perplexity': 2.0, 'accuracy': 0.25, 'bits_per_byte': 2.0}
    """
    tokens, num_bytes = sums["num_tokens"], sums.get("num_bytes", 0)
    if not tokens:
        return {}
    exponent = sums["nll"] / tokens
    ratios = {
        "loss": sums["loss"] / tokens,
        "perplexity": math.exp(exponent) if exponent < MAX_EXPONENT or math.isnan(exponent) else math.inf,
        "accuracy": sums["num_correct"] / tokens,
    }
    return ratios | ({"bits_per_byte": sums["nll"] / math.log(2) / num_bytes} if num_bytes else {})


@external_store(group="modules/metrics")
class TokenPrediction(Metric):
    """Loss, perplexity, accuracy and bits per byte of a language model over all tokens of an epoch and of all ranks.

    Sums are divided once, at the end: a mean of the batches' perplexities would be another number, and depend on the batch size.

    Args:
        label_smoothing: Of the loss; the other metrics have none.
        **kwargs: Options of ``torchmetrics.Metric``.

    Example:
        >>> metric = TokenPrediction()
        >>> metric.update(torch.zeros(1, 2, 4), torch.tensor([[1, 0]]), num_bytes=2)
        >>> {name: round(value.item(), 4) for name, value in metric.compute().items()}
        {'loss': 1.3863, 'perplexity': 4.0, 'accuracy': 0.5, 'bits_per_byte': 2.0}
    """

    is_differentiable = False
    full_state_update = False
    loss: Tensor
    nll: Tensor
    num_tokens: Tensor
    num_correct: Tensor
    num_bytes: Tensor

    def __init__(self, label_smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.label_smoothing = label_smoothing
        for name in ("loss", "nll"):  # fp32 would lose what a batch adds to a long epoch
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("num_tokens", "num_correct", "num_bytes"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, logits_BLV: Tensor, labels_BL: Tensor, num_bytes: Tensor | int = 0) -> None:
        """Take in a batch.

        Args:
            logits_BLV: Scores (B, L, V).
            labels_BL: Right ids (B, L), -100 where nothing is predicted; not shifted here.
            num_bytes: Bytes of the text that the predicted tokens stand for; 0 if unknown.
        """
        for name, value in token_sums(logits_BLV, labels_BL, self.label_smoothing)._asdict().items():
            # Widened again: a task of half precision has converted the states along with its parameters
            setattr(self, name, getattr(self, name) + (value.double() if value.is_floating_point() else value))
        self.num_bytes = self.num_bytes + num_bytes

    def compute(self) -> dict[str, Tensor]:
        """The ratios of :func:`token_ratios`, in double precision; none if no token was predicted."""
        names = (*TokenSums._fields, "num_bytes")
        ratios = token_ratios({name: getattr(self, name).item() for name in names})
        return {name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in ratios.items()}
