"""CPU time and memory of the losses, forward and backward: ``python benchmarks/contrastive_loss.py``.

Every side runs in a process of its own, on one thread, so that its peak memory is its own; the sides take turns. Memory is the
peak of the process above what it held once the inputs existed and one small step was made; the gradients are part of it. The
peer is open_clip's ``ClipLoss`` (``pip install mmkit[bench]``), or the same few lines if open_clip is not installed.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from types import SimpleNamespace


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which open_clip imports)
import torch
import torch.nn.functional as F
from torch import Tensor


# Shapes: B batch, D embedding dim.
Side = Callable[[Tensor, Tensor, Tensor], Tensor]
PAIRS = [SimpleNamespace(modalities=("rgb", "text"), weight=1.0)]


def our_loss(name: str, **options: bool) -> Side:
    from mmkit.modules import losses

    loss = getattr(losses, name)(**options)

    def side(image_BD: Tensor, text_BD: Tensor, scale: Tensor) -> Tensor:
        ids_B2 = torch.stack([torch.zeros(len(image_BD), dtype=torch.long), torch.arange(len(image_BD))], 1)
        embeddings = {"rgb_embedding": image_BD, "text_embedding": text_BD}
        return loss(embeddings, {"rgb": ids_B2, "text": ids_B2.clone()}, scale, PAIRS)

    return side


def peer_loss() -> Side:
    try:
        from open_clip.loss import ClipLoss
    except ImportError:
        return plain_loss
    return ClipLoss()


def plain_loss(image_BD: Tensor, text_BD: Tensor, scale: Tensor) -> Tensor:
    labels_B = torch.arange(len(image_BD))
    to_text, to_image = scale * image_BD @ text_BD.T, scale * text_BD @ image_BD.T
    return (F.cross_entropy(to_text, labels_B) + F.cross_entropy(to_image, labels_B)) / 2


SIDES: dict[str, Callable[[], Side]] = {
    "open_clip": peer_loss,
    "contrastive": lambda: our_loss("ContrastiveLoss"),
    "sigmoid": lambda: our_loss("SigmoidLoss"),
    "contrastive, modality_alignment": lambda: our_loss("ContrastiveLoss", modality_alignment=True),
}


def peak_mebibytes() -> float:
    """Highest resident memory of this process since it began, or since the last reset."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def measure(side: Side, num_rows: int, size: int) -> tuple[float, float]:
    """CPU seconds and MiB of one forward and backward pass."""
    generator = torch.Generator().manual_seed(0)
    image_BD = F.normalize(torch.randn(num_rows, size, generator=generator), dim=1)
    # Cosines of partners around 0.45 and a scale of 100: logits as of a trained model.
    text_BD = F.normalize(image_BD + 2 * F.normalize(torch.randn(num_rows, size, generator=generator), dim=1), dim=1)
    inputs = [image_BD.requires_grad_(), text_BD.requires_grad_(), torch.tensor(100.0, requires_grad=True)]
    side(*(x[:8] if x.dim() else x for x in inputs)).backward()
    for x in inputs:
        x.grad = None
    reset_peak()
    before, start = peak_mebibytes(), time.process_time()
    side(*inputs).backward()
    return time.process_time() - start, peak_mebibytes() - before


def in_own_process(name: str, num_rows: int, size: int) -> tuple[float, float]:
    command = [sys.executable, __file__, "--side", name, "--rows", str(num_rows), "--size", str(size)]
    return tuple(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))


def report(sizes: list[int], size: int, repeats: int, sides: list[str]) -> None:
    machine = platform.processor() or platform.machine()
    print(f"{machine}, 1 thread, torch {torch.__version__}, open_clip {open_clip_version()}, dim {size}")
    print("command: python " + " ".join(sys.argv))
    print(f"{'rows':>7}  {'loss':32}{'CPU s':>8}{'ratio':>7}{'MiB':>8}{'ratio':>7}")
    for num_rows in sizes:
        runs: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
        for _ in range(repeats):
            for name in sides:
                runs[name].append(in_own_process(name, num_rows, size))
        medians = {name: [statistics.median(values) for values in zip(*side, strict=True)] for name, side in runs.items()}
        for name, (seconds, memory) in medians.items():
            peer_seconds, peer_memory = medians[sides[0]]
            print(f"{num_rows:7,}  {name:32}{seconds:8.3f}{seconds / peer_seconds:7.2f}{memory:8.0f}{memory / peer_memory:7.2f}")


def open_clip_version() -> str:
    try:
        return version("open_clip_torch")
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES), help="the first is what ratios refer to")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.side:
        print(json.dumps(measure(SIDES[args.side](), args.rows[0], args.size)))
    else:
        report(args.rows, args.size, args.repeats, args.sides)


if __name__ == "__main__":
    main()
