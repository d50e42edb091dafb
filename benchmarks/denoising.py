"""Denoisers beside the ways they are usually written: the benchmark ``denoising`` of text_data.py."""

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from denoising_sides import candidates_in_loops, lean_slices, spans_in_tensors

from mmkit.datasets.masking import BARTDenoising, T5SpanCorruption, UL2Denoising
from mmkit.datasets.tokenizers import ByteTokenizer


NUM_TEXTS, NUM_TOKENS = 32, 512
ROUNDS, SECONDS_A_TURN = 7, 0.3


def texts_of_words(tokenizer: ByteTokenizer) -> torch.Tensor:
    """Ids (NUM_TEXTS, NUM_TOKENS) of made-up words of about five letters."""
    draw = torch.Generator().manual_seed(0)
    letters = torch.randint(ord("a"), ord("z") + 1, (NUM_TEXTS, NUM_TOKENS - 2), generator=draw)
    letters[torch.rand(letters.shape, generator=draw) < 0.17] = ord(" ")
    return tokenizer([bytes(row.tolist()).decode() for row in letters])["text"]


def sides() -> dict[str, tuple[Callable[[], Any], int]]:
    """What is timed, and how many texts a call corrupts."""
    tokenizer = ByteTokenizer()
    ids_BL = texts_of_words(tokenizer)
    batch = {"text": ids_BL, "text_attention_mask": torch.ones_like(ids_BL)}
    row_L, tokens = ids_BL[0], ids_BL[0].tolist()
    every, words = [True] * NUM_TOKENS, tokenizer.word_starts(row_L)
    denoisers = {
        "BART": BARTDenoising(tokenizer),
        "BART, whole words": BARTDenoising(tokenizer, whole_words=True),
        "BART, everything": BARTDenoising(tokenizer, whole_words=True, delete_ratio=0.1, permute_sentence_ratio=1.0),
        "T5": T5SpanCorruption(tokenizer),
        "T5, whole words": T5SpanCorruption(tokenizer, whole_words=True),
        "UL2": UL2Denoising(tokenizer),
    }
    ours = {f"mmkit: {name}": (lambda denoise=denoise: denoise(batch), NUM_TEXTS) for name, denoise in denoisers.items()}
    return ours | {
        "loops over candidates (Megatron's way), tokens": (lambda: candidates_in_loops(tokens, 0.15, 3.0, every), 1),
        "loops over candidates, words": (lambda: candidates_in_loops(tokens, 0.15, 3.0, words.tolist()), 1),
        "tensors of one text (fairseq's way)": (lambda: spans_in_tensors(row_L, 0.3, 3.0, torch.ones_like(row_L)), 1),
        "tensors of one text, words": (lambda: spans_in_tensors(row_L, 0.3, 3.0, words), 1),
        "slices of lists, tokens": (lambda: lean_slices(tokens, 0.3, 3.0), 1),
    }


def milliseconds(call: Callable[[], Any], num_texts: int) -> float:
    """CPU time of a text; calls for a moment."""
    calls, start = 0, time.process_time()
    while (passed := time.process_time() - start) < SECONDS_A_TURN or calls == 0:
        call()
        calls += 1
    return passed / calls / num_texts * 1e3


def denoising() -> None:
    """Print what a text of NUM_TOKENS tokens takes, the sides in turns, and against the first of the others."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    timed = sides()
    rounds = [{name: milliseconds(*side) for name, side in timed.items()} for _ in range(ROUNDS)]
    median = {name: statistics.median(row[name] for row in rounds) for name in timed}
    reference = next(value for name, value in median.items() if not name.startswith("mmkit"))
    print(f"{f'CPU ms a text of {NUM_TOKENS} tokens':<48}{'ms':>9}{'of the loops':>14}")
    for name, value in median.items():
        print(f"{name:<48}{value:>9.3f}{reference / value:>13.1f}x", flush=True)
    print()


if __name__ == "__main__":
    denoising()
