"""Compare the data core with the obvious way to write it: ``python benchmarks/core.py [NAME ...]``, by default all.

Both sides run in one process and take turns. A table shows the median CPU time of a call, the most memory that one call
adds, and the ratio of the other side to ours: above 1 is in our favour.
"""

import argparse
import ctypes
import gc
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import default_collate

from mmkit.dataloader.sampler import CombinedDatasetRatioSampler
from mmkit.datasets.core import CombinedDataset, Example, collate_example_list, find_matching_indices


REPEATS, SECONDS_PER_SIDE = 100, 5.0  # whichever comes first


@dataclass
class Case:
    """One line of the table: the same work, done by both sides; ``per`` divides the times, e.g. by a number of examples."""

    name: str
    ours: Callable[[], Any]
    other: Callable[[], Any]
    per: int = 1


def matching() -> Iterator[Case]:
    """All pairs of equal ids, beside a comparison of everything with everything."""
    generator = torch.Generator().manual_seed(0)
    for size in (32, 256, 4096, 32768):
        ids = torch.stack([torch.randint(3, (size,), generator=generator), torch.randperm(size, generator=generator)], dim=1)
        mixed = ids[torch.randperm(size, generator=generator)].contiguous()
        twice = torch.stack([ids[:, 0], ids[:, 1] // 2], dim=1)
        for kind, first, second in (("aligned", ids, ids.clone()), ("mixed", ids, mixed), ("each twice", twice, twice.flip(0))):
            yield Case(
                f"{size} ids, {kind}",
                lambda first=first, second=second: find_matching_indices(first, second),
                lambda first=first, second=second: (first[:, None] == second[None]).all(-1).nonzero(),
            )


def collation() -> Iterator[Case]:
    """Examples of four keys, beside one tensor of ids per key and example, and everything given to torch's collation."""
    batch_size = 256
    tokens, labels = torch.arange(77), list(range(batch_size))
    parts = [
        Example(example_index=i, rgb=torch.zeros(3, 8, 8, dtype=torch.uint8), text=tokens, audio=tokens, rgb_target=i)
        for i in labels
    ]
    ours = CombinedDataset([parts, parts])  # pyright: ignore[reportArgumentType]

    def with_tensor_ids(position: int) -> dict[str, Any]:
        dataset_index, index = divmod(position, batch_size)
        example = dict(parts[index])
        keys = [key for key in example if key != "example_index"]
        example["example_ids"] = {key: torch.tensor([dataset_index, example["example_index"]]) for key in keys}
        return example | {"dataset_index": dataset_index}

    def ours_identified() -> list[Any]:
        return [ours[i] for i in positions]

    def other_identified() -> list[Any]:
        return [with_tensor_ids(i) for i in positions]

    positions = range(batch_size // 2, batch_size // 2 + batch_size)
    examples, others = ours_identified(), other_identified()
    yield Case("identify an example", ours_identified, other_identified, per=batch_size)
    yield Case("collate an example", lambda: collate_example_list(examples), lambda: default_collate(others), per=batch_size)
    both = lambda: collate_example_list(ours_identified()), lambda: default_collate(other_identified())
    yield Case("both", *both, per=batch_size)


def retrieval() -> Iterator[Case]:
    """Recall at 1, 5 and 10 in one pass over chunks, beside the whole similarity matrix and one pass for each k."""
    from mmkit.modules.metrics import recall_at_k, retrieval_ranks  # torchmetrics takes seconds to import

    generator, top_k = torch.Generator().manual_seed(0), [1, 5, 10]
    for size in (1000, 5000, 20000):
        query = torch.randn(size, 512, generator=generator)
        target = query + 3 * torch.randn(size, 512, generator=generator)
        ids = torch.stack([torch.zeros(size, dtype=torch.long), torch.arange(size)], dim=1)

        def ours(query: Tensor = query, target: Tensor = target, ids: Tensor = ids) -> Tensor:
            return recall_at_k(retrieval_ranks(query, target, ids, ids), top_k).mean(0)

        def other(query: Tensor = query, target: Tensor = target, ids: Tensor = ids) -> Tensor:
            similarities = F.normalize(query, dim=1) @ F.normalize(target, dim=1).T
            return torch.stack([(similarities.topk(k).indices == ids[:, 1:]).any(1).float().mean() for k in top_k])

        yield Case(f"{size} x {size}, dim 512", ours, other)


#: The benchmarks that can be asked for by name. Each yields its cases.
def sampling() -> Iterator[Case]:
    """The first index of an epoch over 17.8 million examples of two data sets, beside drawing the whole epoch's order."""
    sizes = (12_000_000, 5_800_000)
    dataset = CombinedDataset([range(size) for size in sizes])
    total = sum(sizes)
    sampler = CombinedDatasetRatioSampler(dataset, ratios=[0.5, 0.5], rank=0, num_replicas=1)
    yield Case("17.8 M examples, first index", lambda: next(iter(sampler)), lambda: int(torch.randperm(total)[0]))


BENCHMARKS: dict[str, Callable[[], Iterator[Case]]] = {
    "matching": matching,
    "collation": collation,
    "retrieval": retrieval,
    "sampling": sampling,
}


def measured(case: Case) -> list[str]:
    """Run a case: name, milliseconds of both sides and their ratio, megabytes of both sides."""
    sides = (case.ours, case.other)
    memory = [peak_megabytes(side) for side in sides]  # also warms up
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPEATS):
        for side, record in zip(sides, times, strict=True):
            if sum(record) < SECONDS_PER_SIDE:
                start = time.process_time()
                side()
                record.append(time.process_time() - start)
    ours, other = (1e3 * statistics.median(record) / case.per for record in times)
    return [case.name, f"{ours:.4f}", f"{other:.4f}", f"{other / ours:.1f}x", *(f"{value:.1f}" for value in memory)]


def peak_megabytes(call: Callable[[], Any]) -> float:
    """The most resident memory that a call adds (Linux; ``nan`` elsewhere)."""
    if sys.platform != "linux":
        call()
        return float("nan")
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # so that freed memory that the allocator keeps does not hide what the call needs
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak, VmHWM
    before = _status_megabytes("VmRSS")
    call()
    return _status_megabytes("VmHWM") - before


def _status_megabytes(field: str) -> float:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found.group(1)) / 1e3


def print_table(title: str, rows: list[list[str]]) -> None:
    """Print rows under the columns of :func:`measured`."""
    header = [title, "ours ms", "other ms", "ratio", "ours MB", "other MB"]
    print(f"{header[0]:<24}" + "".join(f"{column:>12}" for column in header[1:]))
    for row in rows:
        print(f"{row[0]:<24}" + "".join(f"{column:>12}" for column in row[1:]))
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="benchmark", help=f"any of: {', '.join(BENCHMARKS)}; all by default")
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"unknown benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    torch.set_num_threads(1)
    print(f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, one thread, CPU time\n")
    for name in names:
        print_table(name, [measured(case) for case in BENCHMARKS[name]()])


if __name__ == "__main__":
    main()
