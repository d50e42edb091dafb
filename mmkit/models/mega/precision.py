"""Where autocast must not lower the precision."""

from contextlib import AbstractContextManager, nullcontext

import torch


def without_autocast(device_type: str) -> AbstractContextManager[object]:
    """Compute in the precision of the operands, whatever autocast says."""
    # torch.autocast refuses devices that it does not know, "meta" among them, even to be turned off.
    return torch.autocast(device_type, enabled=False) if torch.amp.is_autocast_available(device_type) else nullcontext()
