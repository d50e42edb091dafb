"""One function for all ways to generate."""

from typing import Any

import torch
from torch import Tensor, nn

from mmkit.models.encoder_decoder.generation.beam_search import beam_search
from mmkit.models.encoder_decoder.generation.random_numbers import row_seeds
from mmkit.models.encoder_decoder.generation.sampling import Choice, Sampler, most_probable
from mmkit.models.encoder_decoder.generation.steps import DecoderSteps
from mmkit.models.encoder_decoder.generation.token_by_token import token_by_token


# Shapes: B rows, S memory positions, Z their size, T tokens, K beams.

#: Methods and the settings that each of them reads, with the values that say nothing.
METHODS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "sample": {"temperature": 1.0, "top_k": None, "top_p": None, "seed": None},
    "beam": {"num_beams": None, "length_penalty": None},
}


@torch.no_grad()
def generate(
    decoder: nn.Module,
    memory_BSZ: Tensor,
    memory_mask_BS: Tensor | None = None,
    *,
    bos_id: int,
    eos_id: int | None,
    pad_id: int,
    method: str = "greedy",
    max_length: int = 128,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | Tensor | None = None,
    num_beams: int | None = None,
    length_penalty: float | None = None,
) -> Tensor:
    """Generate a token sequence for each row, with the decoder as it is (call ``eval()`` before).

    Args:
        decoder: Any of Hugging Face's calling convention, with cross-attention.
        memory_BSZ: What it attends to.
        memory_mask_BS: Nonzero where that is real; None when all is.
        bos_id: Token that every row begins with; not returned.
        eos_id: Token that ends a row; None: rows end at ``max_length`` only.
        pad_id: Token behind the end.
        method: ``"greedy"``, ``"sample"`` or ``"beam"``.
        max_length: Longest row in tokens, the end included.
        temperature: Of sampling: what the logits are divided by.
        top_k: Of sampling: draw from so many tokens.
        top_p: Of sampling: draw from the fewest tokens whose probabilities add up to so much.
        seed: Of sampling: one number, or one a row (B,), see :func:`row_seeds`. A row's tokens depend on its memory and its
            number alone. None draws the numbers from torch's global generator.
        num_beams: Of beam search: beams of each row; 4 by default.
        length_penalty: Of beam search: a score is the log-probability divided by length ** length_penalty; 1 by default.

    Returns:
        Tokens (B, T), T the length of the longest row.

    Raises:
        ValueError: Unknown method, a setting out of its range, or one that the method does not read.
    """
    settings = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    _check(method, max_length, {**settings, "num_beams": num_beams, "length_penalty": length_penalty})
    if method == "beam":
        num_beams = num_beams or 4
        rows = [None if x is None else x.repeat_interleave(num_beams, dim=0) for x in (memory_BSZ, memory_mask_BS)]
        steps = DecoderSteps(decoder, rows[0], rows[1])  # pyright: ignore[reportArgumentType]
        penalty = 1.0 if length_penalty is None else length_penalty
        found = beam_search(steps, num_beams, bos_id, eos_id, pad_id, max_length, penalty)
        return _without_padding(found.ids_BKT[:, 0], eos_id)
    choice = most_probable
    if method == "sample":
        seeds_B = _seeds(seed, len(memory_BSZ)).to(memory_BSZ.device)
        choice: Choice = Sampler(seeds_B, temperature, top_k, top_p)
    steps = DecoderSteps(decoder, memory_BSZ, memory_mask_BS)
    return token_by_token(steps, choice, bos_id, eos_id, pad_id, max_length)


def _seeds(seed: int | Tensor | None, num_rows: int) -> Tensor:
    """One number a row."""
    if seed is None:
        return torch.randint(-(2**63), 2**63 - 1, (num_rows,))
    seeds_B = seed if isinstance(seed, Tensor) else row_seeds(seed, num_rows)
    if seeds_B.shape != (num_rows,):
        raise ValueError(f"seed has the shape {tuple(seeds_B.shape)} for {num_rows} rows. Give one number, or one a row.")
    return seeds_B


def _without_padding(ids_BT: Tensor, eos_id: int | None) -> Tensor:
    """The columns up to where the longest row ends."""
    if eos_id is None or not len(ids_BT):
        return ids_BT
    goes_on_BT = (ids_BT == eos_id).cumsum(dim=1) == 0
    return ids_BT[:, : min(int(goes_on_BT.sum(dim=1).max()) + 1, ids_BT.shape[1])]


def _check(method: str, max_length: int, settings: dict[str, Any]) -> None:
    if method not in METHODS:
        raise ValueError(f"Unknown method {method!r}. Allowed: {', '.join(METHODS)}.")
    if max_length < 1:
        raise ValueError(f"max_length={max_length} must be at least 1.")
    if settings["num_beams"] is not None and settings["num_beams"] < 1:
        raise ValueError(f"num_beams={settings['num_beams']} must be at least 1.")
    for owner, defaults in METHODS.items():
        for name, default in defaults.items():
            if owner != method and settings[name] is not default and settings[name] != default:
                raise ValueError(
                    f"{name}={settings[name]} has no effect with method={method!r}. Leave it out, or set method={owner!r}."
                )
