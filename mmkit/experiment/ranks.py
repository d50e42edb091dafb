"""Which rank a process is, told by its environment, before there is any process group."""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from mmkit.log_handlers import screen_handlers


def is_rank_zero(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is the first rank: of its process group if there is one, else of what its launcher says."""
    from mmkit.distributed import replica  # here: a name needs no torch

    rank, world_size = replica()
    return rank == 0 if world_size > 1 else rank_name(environment) == "rank-0"


def rank_name(environment: Mapping[str, str] = os.environ) -> str:
    """``rank-3``, or ``node-1-rank-0`` where only the rank on the machine is known.

    Lightning starts the other ranks of a machine with ``LOCAL_RANK``, torchrun all with ``RANK``, srun with ``SLURM_PROCID``.
    """
    if environment.get("RANK"):
        return f"rank-{environment['RANK']}"
    node = environment.get("NODE_RANK") or environment.get("GROUP_RANK") or "0"
    if environment.get("LOCAL_RANK") or node != "0":
        local = environment.get("LOCAL_RANK") or "0"
        return f"rank-{local}" if node == "0" else f"node-{node}-rank-{local}"
    return f"rank-{environment.get('SLURM_PROCID') or '0'}"


def local_rank(environment: Mapping[str, str] = os.environ) -> int:
    """The rank among the processes of this machine."""
    return int(environment.get("LOCAL_RANK") or environment.get("SLURM_LOCALID") or 0)


@contextmanager
def first_rank_speaks() -> Iterator[None]:
    """Keep log lines and warnings of the other ranks from the screen, where the first one says the same.

    They still reach handlers that write files, such as the log of the rank; errors are shown.
    """
    if is_rank_zero():
        yield
        return
    handlers = screen_handlers()
    levels = [handler.level for handler in handlers]
    for handler in handlers:
        handler.setLevel(max(handler.level, logging.ERROR))
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        for handler, level in zip(handlers, levels, strict=True):
            handler.setLevel(level)
