"""Processes to be killed while they save: for every directory on stdin, one that goes on from what is there and saves on and on.

Prints the number of each process, and "gone" when it is. A process writes what it does into the file ``<directory>.log``.
"""

import os
import sys
from pathlib import Path

import torch

from mmkit.experiment.checkpoint import DirectoryCheckpointIO, Retention, newest_good


def content(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    tensors = {f"layer.{number}": torch.randn(64, 256, generator=generator) for number in range(4)}
    state = {"step": step, "epoch": 0, "score": float(step % 5), "monitor": "loss"}
    return {"state_dict": tensors, "optimizer_states": [{"m": tensors["layer.0"] * 2}], "global_step": step, "mmkit_state": state}


def is_right(checkpoint: dict, step: int) -> bool:
    expected = content(step)
    same = all(torch.equal(checkpoint["state_dict"][name], tensor) for name, tensor in expected["state_dict"].items())
    moment = torch.equal(checkpoint["optimizer_states"][0]["m"], expected["optimizer_states"][0]["m"])
    return same and moment and checkpoint["mmkit_state"] == expected["mmkit_state"]


def go_on_saving(directory: Path) -> None:
    log = os.open(f"{directory}.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    io = DirectoryCheckpointIO("seed: 1\n", retention=Retention())
    newest = newest_good(directory)
    step = 0 if newest is None else int(newest.name[5:])
    if newest is not None and not is_right(io.load_checkpoint(newest), step):
        os.write(log, b"wrong content\n")
    while True:
        step += 1
        for _ in range(1 + step % 2):  # every other one is saved twice, so that one takes the place of another
            checkpoint = content(step)
            os.write(log, f"begin {step}\n".encode())
            io.save_checkpoint(checkpoint, directory / f"step-{step:06d}")
            io.wait()
            os.write(log, f"saved {step}\n".encode())


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            go_on_saving(Path(line.strip()))
        print(child, flush=True)
        os.waitpid(child, 0)
        print("gone", flush=True)


if __name__ == "__main__":
    main()
