"""Which of several ranks this process is."""

from torch import distributed


def replica() -> tuple[int, int]:
    """The rank of this process and the number of ranks; ``(0, 1)`` where there is no process group."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
