"""Cost of a contrastive training step beside a bare PyTorch loop and open_clip: ``python benchmarks/contrastive_step.py MODE``.

step      samples per CPU-second: ViT-Ti/16 at 64 px and a text transformer of 4 layers x 256, captions of mixed length
overhead  CPU milliseconds that the whole loop, with logging and progress bar, adds to a step of a tiny model
profile   where our loop spends its time in a step of the tiny model
loader    examples per second from one worker: bytes, or floats that the worker has normalised; CPU time of both processes

All sides run in one process on one thread and take turns; the table shows medians of CPU time.
"""

import argparse
import statistics
from collections.abc import Sequence


import mmkit  # noqa: F401  # isort: skip  (it makes torchvision importable, which lightning imports)
import torch
from image_loader import IMAGENET, loader
from loop_overhead import overhead, profile
from sides import ADAMW, FUSED, BareModel, Towers, bare_loop, ours, quiet
from torch import Tensor, nn
from turns import Batch, Sides, in_turns, print_machine, processor

from mmkit.modules.encoders import TextTransformer, VisionTransformer


# Shapes: B batch, L tokens, C channels, H, W pixels.
BATCH_SIZE, IMAGE_SIZE, EMBED_DIM = 64, 64, 256
VOCAB_SIZE, MAX_LENGTH, START, END = 49408, 77, 49406, 49407


def make_batches(num: int, text: str) -> list[Batch]:
    """Batches as the collator makes them.

    Captions have a log-normal number of tokens with median 13, as web captions, from 4 to 77.

    Args:
        num: Number of batches.
        text: ``"padded"`` to 77 tokens, ``"trimmed"`` to the longest of the batch, or ``"bucketed"``: trimmed, with captions of
            like length in a batch.
    """
    generator = torch.Generator().manual_seed(0)
    lengths = torch.empty(num * BATCH_SIZE).log_normal_(2.55, 0.45, generator=generator).round().long().clamp(4, MAX_LENGTH)
    if text == "bucketed":
        order = torch.randperm(num, generator=generator)
        return [_batch(lengths_B, text, generator) for lengths_B in lengths.sort().values.view(num, BATCH_SIZE)[order]]
    return [_batch(lengths_B, text, generator) for lengths_B in lengths.view(num, BATCH_SIZE)]


def _batch(lengths_B: Tensor, text: str, generator: torch.Generator) -> Batch:
    length = MAX_LENGTH if text == "padded" else int(lengths_B.max())
    mask_BL = torch.arange(length) < lengths_B[:, None]
    tokens_BL = torch.randint(1, START, (BATCH_SIZE, length), generator=generator)
    tokens_BL[:, 0] = START
    tokens_BL = tokens_BL.where(mask_BL, 0).scatter(1, lengths_B[:, None] - 1, END)
    ids_B2 = torch.stack([torch.zeros(BATCH_SIZE, dtype=torch.long), torch.arange(BATCH_SIZE)], dim=1)
    rgb_BCHW = torch.randint(0, 256, (BATCH_SIZE, 3, IMAGE_SIZE, IMAGE_SIZE), dtype=torch.uint8, generator=generator)
    return {
        "rgb": rgb_BCHW,
        "text": tokens_BL,
        "text_attention_mask": mask_BL.long(),
        "example_ids": {"rgb": ids_B2, "text": ids_B2},
    }


def normalized(batches: Sequence[Batch]) -> list[Batch]:
    """The same with images as the peers take them, normalised floats."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    return [{**batch, "rgb": (batch["rgb"] / 255 - mean) / std} for batch in batches]


def make_towers() -> Towers:
    """Encoders and heads: ViT-Ti/16 and the text tower of open_clip's shape."""
    vision = VisionTransformer(image_size=IMAGE_SIZE, width=192, depth=12, num_heads=3)
    text = TextTransformer(VOCAB_SIZE, MAX_LENGTH, width=256, depth=4, num_heads=4, causal=True, pooling="eos", eos_token_id=END)
    heads = {"rgb": nn.Linear(192, EMBED_DIM, bias=False), "text": nn.Linear(256, EMBED_DIM, bias=False)}
    return {"rgb": vision, "text": text}, heads


class OpenCLIP(nn.Module):
    """open_clip's model and loss."""

    def __init__(self) -> None:
        super().__init__()
        from open_clip.loss import ClipLoss
        from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg

        vision = CLIPVisionCfg(layers=12, width=192, head_width=64, patch_size=16, image_size=IMAGE_SIZE)
        text = CLIPTextCfg(context_length=MAX_LENGTH, vocab_size=VOCAB_SIZE, width=256, heads=4, layers=4)
        self.model, self.loss = CLIP(EMBED_DIM, vision, text), ClipLoss()

    def forward(self, batch: Batch) -> Tensor:
        return self.loss(*self.model(batch["rgb"], batch["text"]))


def step(rounds: int, steps: int) -> None:
    """Samples per CPU-second."""
    padded, trimmed, bucketed = (make_batches(8, text) for text in ("padded", "trimmed", "bucketed"))
    sides: Sides = {
        "bare loop fp32": (bare_loop(BareModel(*make_towers()), ADAMW), normalized(padded)),
        "open_clip fp32": (bare_loop(OpenCLIP(), ADAMW), normalized(padded)),  # its CLIP takes no shorter texts
        "open_clip fp32, fused": (bare_loop(OpenCLIP(), FUSED), normalized(padded)),
        "open_clip bf16": (bare_loop(OpenCLIP(), ADAMW, bf16=True), normalized(padded)),
        "ours fp32": (ours(make_towers, ADAMW), padded),
        "ours fp32, trimmed": (ours(make_towers, ADAMW), trimmed),
        "ours fp32, trimmed, fused": (ours(make_towers, FUSED), trimmed),
        "ours fp32, bucketed, fused": (ours(make_towers, FUSED), bucketed),
        "ours bf16, trimmed, fused": (ours(make_towers, FUSED, bf16=True), trimmed),
    }
    longest = (statistics.mean(batch["text"].shape[1] for batch in batches) for batches in (trimmed, bucketed))
    print("tokens of the longest caption of a batch: {:.1f} on average, {:.1f} in buckets\n".format(*longest))
    seconds = in_turns(sides, rounds, steps, num_warmup=2)
    print(f"{'':<32}{'samples / CPU s':>16}{'/ open_clip fp32':>18}{'/ open_clip bf16':>18}")
    for name, value in seconds.items():
        ratios = (seconds[f"open_clip {kind}"] / value for kind in ("fp32", "bf16"))
        print(f"{name:<32}{BATCH_SIZE / value:>16.1f}" + "".join(f"{ratio:>17.2f}x" for ratio in ratios))
    precision = "bf16" if processor()[1] else "fp32: this processor has no bfloat16 products, so `trainer=bf16` is not for it"
    print(f"\nThe shipped setting here is trimmed, fused and {precision}.")


#: What can be measured, with its default number of turns and of measured steps in a turn.
MODES = {"step": (step, 3, 4), "overhead": (overhead, 9, 400), "profile": (profile, 1, 1000), "loader": (loader, 5, 30)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=MODES)
    parser.add_argument("--rounds", type=int, help="turns of every side")
    parser.add_argument("--steps", type=int, help="measured steps of a turn, or batches of the loader")
    arguments = parser.parse_args()
    measure, rounds, steps = MODES[arguments.mode]
    torch.set_num_threads(1)
    print_machine(["torch", "lightning", "open_clip_torch"])
    with quiet():
        measure(arguments.rounds or rounds, arguments.steps or steps)


if __name__ == "__main__":
    main()
