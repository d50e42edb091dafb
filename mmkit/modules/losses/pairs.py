"""Which rows of which embeddings belong together."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from mmkit.datasets.core import Modalities, find_matching_indices
from mmkit.modules.losses.tiles import at_least_float32


class LossPair(Protocol):
    """Two modalities whose embeddings a loss compares; ``mmkit.tasks.contrastive_pretraining.LossPairSpec`` is one."""

    @property
    def modalities(self) -> Sequence[str]: ...

    @property
    def weight(self) -> float: ...


# Shapes: M rows of a and K rows of b that have a partner, D embedding dim, P positive pairs, N rows of an embedding.
class MatchedPair(NamedTuple):
    """The rows of two embeddings that have a partner, and which belong together."""

    a_MD: Tensor
    b_KD: Tensor
    rows_P: Tensor
    columns_P: Tensor
    modalities: tuple[str, str]
    weight: float


class RowNumbers:
    """The numbers 0, 1, 2, ... as a tensor; ``cached``, they are made once for all batches of up to the largest size."""

    def __init__(self, cached: bool = False) -> None:
        self.cached = cached
        self._numbers = torch.empty(0, dtype=torch.long)

    def __call__(self, num_rows: int, device: torch.device) -> Tensor:
        if self.cached and len(self._numbers) >= num_rows and self._numbers.device == device:
            return self._numbers[:num_rows]
        numbers = torch.arange(num_rows, device=device)
        if self.cached:
            self._numbers = numbers
        return numbers


def compared_embeddings(embeddings: Mapping[str, Tensor], modality_loss_pairs: Sequence[LossPair]) -> dict[str, Tensor]:
    """The embeddings that belong to a modality of the pairs, by modality.

    Args:
        embeddings: Embeddings (N, D) by ``<modality>_embedding``.
        modality_loss_pairs: The pairs of modalities.

    Raises:
        ValueError: If there is none.
    """
    keys = {name: Modalities.get_modality(name).embedding for pair in modality_loss_pairs for name in pair.modalities}
    compared = {name: embeddings[key] for name, key in keys.items() if key in embeddings}
    if not compared:
        raise ValueError(
            f"The batch has no embedding of a modality that the loss compares. Given: {_listed(embeddings)}. Expected some of: "
            f"{_listed(keys.values())}. Check modality_loss_pairs and the modalities that the data set returns."
        )
    return compared


def match_pairs(
    embeddings: Mapping[str, Tensor],
    example_ids: Mapping[str, Tensor],
    modality_loss_pairs: Sequence[LossPair],
    row_numbers: RowNumbers | None = None,
) -> list[MatchedPair]:
    """Find the positive pairs of every pair of modalities; rows without a partner are left out.

    Args:
        embeddings: Embeddings (N, D) by modality.
        example_ids: Ids (N, 2) by modality.
        modality_loss_pairs: The pairs of modalities.
        row_numbers: Where to take 0, 1, 2, ... from.

    Returns:
        One entry for every pair of modalities of which the batch has at least one positive pair.

    Raises:
        ValueError: If embeddings and ids, or the embeddings of a pair, do not fit together.
    """
    row_numbers = row_numbers or RowNumbers()
    for name, x_ND in embeddings.items():
        _check_rows(name, x_ND, example_ids)
    matched = []
    for pair in modality_loss_pairs:
        name_a, name_b = pair.modalities
        if name_a not in embeddings or name_b not in embeddings:
            continue
        check_sizes({name: embeddings[name] for name in (name_a, name_b)})
        rows_P, columns_P = find_matching_indices(example_ids[name_a], example_ids[name_b])
        if len(rows_P) > 0:
            a_MD, rows_P = _with_partner(embeddings[name_a], rows_P, row_numbers)
            b_KD, columns_P = _with_partner(embeddings[name_b], columns_P, row_numbers)
            matched.append(MatchedPair(a_MD, b_KD, rows_P, columns_P, (name_a, name_b), pair.weight))
    return matched


def _with_partner(x_ND: Tensor, rows_P: Tensor, row_numbers: RowNumbers) -> tuple[Tensor, Tensor]:
    """The rows that ``rows_P`` names, without copying if these are all, and the index of these rows for every pair."""
    if len(rows_P) == len(x_ND) and torch.equal(rows_P, row_numbers(len(x_ND), rows_P.device)):
        return x_ND, rows_P
    kept_M, index_P = torch.unique(rows_P, return_inverse=True)
    return (x_ND, rows_P) if len(kept_M) == len(x_ND) else (x_ND.index_select(0, kept_M), index_P)


def zero_loss(*tensors: Tensor) -> Tensor:
    """Zero that depends on the tensors, so that their gradients are zeros, whatever is in them."""
    return torch.stack([at_least_float32(x.reshape(-1)[:0].sum()) for x in tensors]).sum()


def _check_rows(name: str, x_ND: Tensor, example_ids: Mapping[str, Tensor]) -> None:
    if name not in example_ids:
        raise ValueError(f"There are embeddings of {name!r} but no example ids. Ids exist for: {_listed(example_ids)}.")
    if x_ND.dim() != 2 or len(x_ND) != len(example_ids[name]):
        raise ValueError(
            f"Embeddings of {name!r} have shape {tuple(x_ND.shape)} and their example ids {tuple(example_ids[name].shape)}; "
            "expected (B, D) and (B, 2) with the same B. An encoder that returns one embedding per token needs a pooling."
        )


def check_sizes(embeddings: Mapping[str, Tensor]) -> None:
    """Raise a ValueError unless all embeddings, by modality, have the same size."""
    sizes = {name: x_ND.size(1) for name, x_ND in embeddings.items()}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name!r} has {size}" for name, size in sizes.items())
        raise ValueError(
            f"The loss compares embeddings of different size: {listed}. Give them heads with the same output size (task.heads)."
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
