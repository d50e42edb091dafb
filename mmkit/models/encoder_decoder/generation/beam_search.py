"""Beam search."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmkit.models.encoder_decoder.generation.steps import DecoderSteps


# Shapes: B rows, K beams, V vocabulary, T max_length, C candidates.


class Hypotheses(NamedTuple):
    """Tokens (B, K, T), padded behind their end, and their scores (B, K), the best first; what there is none of has -inf."""

    ids_BKT: Tensor
    scores_BK: Tensor

    def best(self, num: int) -> "Hypotheses":
        """The ``num`` best of each row."""
        scores_BN, index_BN = self.scores_BK.topk(num, dim=1)
        return Hypotheses(_taken(self.ids_BKT, index_BN), scores_BN)

    def join(self, other: "Hypotheses") -> "Hypotheses":
        """Those of both."""
        return Hypotheses(*(torch.cat(pair, dim=1) for pair in zip(self, other, strict=True)))


def beam_search(
    steps: DecoderSteps,
    num_beams: int,
    bos_id: int,
    eos_id: int | None,
    pad_id: int,
    max_length: int,
    length_penalty: float = 1.0,
) -> Hypotheses:
    """Find the K sequences of the highest score, sum of log p(token) / length ** length_penalty.

    A hypothesis ends with ``eos_id`` or at ``max_length``; both the end and what is cut off count as its length. A row is done
    when nothing that its beams can still become would beat the worst of K ended hypotheses, which is exact, not a guess.

    Args:
        steps: The decoder; row ``b * num_beams + k`` of its memory belongs to beam k of row b.
        num_beams: Beams K of each row.
        bos_id: Token that every row begins with; not returned.
        eos_id: Token that ends a row; None: rows end at ``max_length`` only.
        pad_id: Token behind the end.
        max_length: Longest row in tokens, the last one included.
        length_penalty: Above 0 favours long sequences, below 0 short ones.
    """
    num_rows, device = len(steps.memory_NSZ) // num_beams, steps.memory_NSZ.device
    ids_BKT = torch.full((num_rows, num_beams, max_length), pad_id, device=device)
    nothing = Hypotheses(ids_BKT, torch.full((num_rows, num_beams), -torch.inf, device=device))
    running = nothing._replace(scores_BK=nothing.scores_BK.index_fill(1, torch.tensor([0], device=device), 0.0))
    ended, token_N = nothing, torch.full((num_rows * num_beams,), bos_id, device=device)
    for step in range(max_length):
        candidates, beam_BC = _extended(running, steps(token_N), step)
        stops_BC = candidates.ids_BKT[:, :, step] == eos_id if eos_id is not None else torch.zeros_like(beam_BC, dtype=torch.bool)
        stops_BC = torch.ones_like(stops_BC) if step == max_length - 1 else stops_BC
        ended = ended.join(_stopped(candidates, stops_BC, num_beams, (step + 1) ** length_penalty)).best(num_beams)
        scores_BK, index_BK = candidates.scores_BK.masked_fill(stops_BC, -torch.inf).topk(num_beams, dim=1)
        running = Hypotheses(_taken(candidates.ids_BKT, index_BK), scores_BK)
        if _is_done(running, ended, step + 1, max_length, length_penalty):
            break
        token_N = running.ids_BKT[:, :, step].flatten()
        steps.reorder(_rows(beam_BC.gather(1, index_BK)))
    return ended


def _extended(running: Hypotheses, logits_NV: Tensor, step: int) -> tuple[Hypotheses, Tensor]:
    """The 2 K best continuations by a token, of which at most K end, and the beam (B, 2 K) that each continues."""
    num_rows, num_beams = running.scores_BK.shape
    log_p_BKV = logits_NV.log_softmax(dim=-1).unflatten(0, (num_rows, num_beams))
    total_BX = (running.scores_BK.unsqueeze(-1) + log_p_BKV).flatten(1)
    scores_BC, index_BC = total_BX.topk(min(2 * num_beams, total_BX.shape[1]), dim=1)
    beam_BC, token_BC = index_BC // logits_NV.shape[-1], index_BC % logits_NV.shape[-1]
    ids_BCT = _taken(running.ids_BKT, beam_BC)
    ids_BCT[:, :, step] = token_BC
    return Hypotheses(ids_BCT, scores_BC), beam_BC


def _stopped(candidates: Hypotheses, stops_BC: Tensor, num_beams: int, divisor: float) -> Hypotheses:
    """Those of the K best candidates that end, with their final scores; one that is worse ends no beam."""
    ids_BKT, scores_BK = (x[:, :num_beams] for x in candidates)
    return Hypotheses(ids_BKT, (scores_BK / divisor).masked_fill(~stops_BC[:, :num_beams], -torch.inf))


def _is_done(running: Hypotheses, ended: Hypotheses, length: int, max_length: int, length_penalty: float) -> bool:
    """Whether nothing can change any more: log-probabilities only fall, so a beam's best score is that of falling no further."""
    best_length = max_length if length_penalty > 0 else length + 1
    attainable_B = running.scores_BK[:, 0] / best_length**length_penalty
    return bool((attainable_B <= ended.scores_BK[:, -1]).all())


def _rows(beam_BK: Tensor) -> Tensor:
    """Beams as rows (B K,) of the decoder."""
    first_B1 = torch.arange(len(beam_BK), device=beam_BK.device).unsqueeze(1) * beam_BK.shape[1]
    return (first_B1 + beam_BK).flatten()


def _taken(ids_BKT: Tensor, index_BC: Tensor) -> Tensor:
    return ids_BKT.gather(1, index_BC.unsqueeze(-1).expand(-1, -1, ids_BKT.shape[2]))
