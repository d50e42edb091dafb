"""What a byte trigram reaches on the test files of ``StdlibBytes``: ``python -m projects.mega.trigram``.

The next byte's probability is a mixture of its relative frequencies after the last two bytes, after the last one, after none,
and the uniform distribution. Two ways to find the weights; both are reported, the better one is to be beaten:

- Jelinek and Mercer 1980 (deleted interpolation): weights depend on how often the context was seen in the training files, in
  powers of two; they are fitted to the validation files by expectation maximisation.
- Witten and Bell 1991: a context's own frequencies weigh n / (n + t), where n is how often it was seen and t how many
  different bytes followed it; the rest goes to the shorter context.
"""

import argparse

import numpy as np

from mmkit.datasets.stdlib_bytes.corpus import load_corpus


# Shapes: N predicted bytes, C contexts, O = 4 orders (uniform, no context, one byte, two bytes), W buckets of weights.
ORDERS = (1, 2, 3)


class NgramCounts:
    """How often each byte followed each context of up to two bytes.

    Args:
        text: Training bytes (N,), uint8.
    """

    def __init__(self, text: np.ndarray) -> None:
        self.counts_CV = {order: _counted(text, order).reshape(-1, 256) for order in ORDERS}
        self.seen_C = {order: counts_CV.sum(1) for order, counts_CV in self.counts_CV.items()}
        self.kinds_C = {order: (counts_CV > 0).sum(1) for order, counts_CV in self.counts_CV.items()}

    def contexts(self, text: np.ndarray) -> dict[int, np.ndarray]:
        """Number of the context of each byte but the first (N,), by order; the second byte's is the first one twice."""
        before, last = np.concatenate([text[:1], text[:-2]]).astype(np.int64), text[:-1].astype(np.int64)
        return {1: np.zeros_like(last), 2: last, 3: before * 256 + last}

    def frequencies(self, text: np.ndarray) -> np.ndarray:
        """Relative frequency (O, N) of each byte but the first, by order; 0 after a context that was never seen."""
        rows = [np.full(len(text) - 1, 1 / 256)]
        for order, context_N in self.contexts(text).items():
            rows.append(self.counts_CV[order][context_N, text[1:]] / np.maximum(self.seen_C[order][context_N], 1))
        return np.stack(rows)


def _counted(text: np.ndarray, order: int) -> np.ndarray:
    gram = np.zeros(len(text) - order + 1, np.int64)
    for place in range(order):
        gram = gram * 256 + text[place : len(text) - order + 1 + place]
    return np.bincount(gram, minlength=256**order).astype(np.int32)


def jelinek_mercer(counts: NgramCounts, val: np.ndarray, test: np.ndarray, num_steps: int = 50) -> float:
    """Bits per byte of ``test`` (N,) with weights fitted to ``val`` (N,)."""
    frequencies_ON, bucket_N = counts.frequencies(val), _buckets(counts, val)
    weights_WO = np.full((32 * 32, 4), 0.25)
    for _ in range(num_steps):
        shares_ON = weights_WO[bucket_N].T * frequencies_ON
        shares_ON /= shares_ON.sum(0)
        sums_OW = np.stack([np.bincount(bucket_N, share_N, len(weights_WO)) for share_N in shares_ON])
        weights_WO = (sums_OW + 1e-3).T / (sums_OW + 1e-3).sum(0)[:, None]  # buckets that val does not have: equal weights
    return _bits((weights_WO[_buckets(counts, test)].T * counts.frequencies(test)).sum(0))


def _buckets(counts: NgramCounts, text: np.ndarray) -> np.ndarray:
    """Which weights each byte (N,) is mixed with: by how often its two contexts were seen."""
    context = counts.contexts(text)
    three, two = (np.ceil(np.log2(1 + counts.seen_C[order][context[order]])).astype(np.int64) for order in (3, 2))
    return three * 32 + two


def witten_bell(counts: NgramCounts, test: np.ndarray) -> float:
    """Bits per byte of ``test`` (N,)."""
    frequencies_ON, contexts = counts.frequencies(test), counts.contexts(test)
    p_N = frequencies_ON[0]
    for order in ORDERS:
        seen_N, kinds_N = (table[order][contexts[order]] for table in (counts.seen_C, counts.kinds_C))
        own_N = seen_N / np.maximum(seen_N + kinds_N, 1)
        p_N = own_N * frequencies_ON[order] + (1 - own_N) * p_N
    return _bits(p_N)


def _bits(p_N: np.ndarray) -> float:
    return float(-np.log2(p_N).mean())


def trigram_bits_per_byte() -> dict[str, float]:
    """Bits per byte of the test files of ``StdlibBytes``, all bytes but the first, by the way the weights are found."""
    corpus = load_corpus()
    counts = NgramCounts(corpus.split("train"))
    val, test = corpus.split("val"), corpus.split("test")
    return {"Jelinek-Mercer": jelinek_mercer(counts, val, test), "Witten-Bell": witten_bell(counts, test)}


def main() -> None:
    """Print what the trigram reaches."""
    argparse.ArgumentParser(
        "python -m projects.mega.trigram", description="The byte trigram that mega_stdlib_lm is to beat."
    ).parse_args()
    for name, bits in trigram_bits_per_byte().items():
        print(f"{name:15} {bits:.4f} bits per byte")


if __name__ == "__main__":
    main()
