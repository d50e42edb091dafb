"""What a decoder reads, and what it shall predict."""

import torch.nn.functional as F
from torch import Tensor

from mmkit.constants import IGNORED_LABEL


# Shapes: B rows, T target positions, N = B T, V vocabulary.


def shift_right(labels_BT: Tensor, bos_id: int, pad_id: int) -> Tensor:
    """What the decoder reads to predict ``labels_BT``: ``bos_id``, then all labels but the last, ``pad_id`` for ignored ones.

    Example:
        >>> import torch
        >>> shift_right(torch.tensor([[5, 6, 2], [5, 2, -100]]), bos_id=1, pad_id=0)
        tensor([[1, 5, 6],
                [1, 5, 2]])
    """
    return F.pad(labels_BT[:, :-1].masked_fill(labels_BT[:, :-1] == IGNORED_LABEL, pad_id), (1, 0), value=bos_id)


def labels_of(ids_BT: Tensor, eos_id: int | None) -> Tensor:
    """Generated tokens as labels: what is behind the first ``eos_id`` is ignored.

    Example:
        >>> import torch
        >>> labels_of(torch.tensor([[5, 6, 2], [5, 2, 0]]), eos_id=2)
        tensor([[   5,    6,    2],
                [   5,    2, -100]])
    """
    if eos_id is None:
        return ids_BT
    ends_BT = (ids_BT == eos_id).long()
    return ids_BT.masked_fill(ends_BT.cumsum(dim=1) - ends_BT > 0, IGNORED_LABEL)


def encoder_input(labels_BT: Tensor, bos_id: int, pad_id: int) -> tuple[Tensor, Tensor]:
    """Labels as an encoder reads them: ids from ``bos_id`` on, and their mask, (B, T + 1) each.

    Example:
        >>> import torch
        >>> encoder_input(torch.tensor([[5, 2, -100]]), bos_id=1, pad_id=0)
        (tensor([[1, 5, 2, 0]]), tensor([[1, 1, 1, 0]]))
    """
    is_real_BT = labels_BT != IGNORED_LABEL
    ids_BT = labels_BT.masked_fill(~is_real_BT, pad_id)
    return F.pad(ids_BT, (1, 0), value=bos_id), F.pad(is_real_BT.long(), (1, 0), value=1)


def real_inputs(ids_BT: Tensor, pad_id: int) -> Tensor:
    """The mask (B, T) of what a decoder reads: 1 for the first token and all up to the last that is not ``pad_id``.

    Example:
        >>> import torch
        >>> real_inputs(torch.tensor([[1, 5, 6], [1, 5, 0]]), pad_id=0)
        tensor([[1, 1, 1],
                [1, 1, 0]])
    """
    is_token_BT = F.pad((ids_BT[:, 1:] != pad_id).long(), (1, 0), value=1)
    return is_token_BT.flip(1).cummax(dim=1).values.flip(1)


def sequence_log_likelihood(logits_BTV: Tensor, labels_BT: Tensor) -> Tensor:
    """Log p(labels) (B,) in nats: the sum over the labels that are not ignored; at least in single precision."""
    logits_BTV = logits_BTV if logits_BTV.element_size() > 2 else logits_BTV.float()
    losses_N = F.cross_entropy(logits_BTV.flatten(0, 1), labels_BT.flatten(), ignore_index=IGNORED_LABEL, reduction="none")
    return -losses_N.view_as(labels_BT).sum(dim=1)
