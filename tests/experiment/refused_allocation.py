"""Ask for more memory than there may be, in several ways; started by test_memory.py."""

# ruff: noqa: I001 - mmkit comes first

import json
import resource

import mmkit  # noqa: F401 - repairs Lightning's import of torchvision
import numpy as np
import torch

from mmkit.experiment.memory import explain_memory


def message(allocate):
    try:
        allocate()
    except Exception as error:
        return [
            type(error).__name__,
            str(explain_memory(error, {"rgb": torch.zeros(4, 3, 2, 2, dtype=torch.uint8), "text": ["a", "b"]})),
        ]
    return None


batch = {"rgb": torch.zeros(4, 3, 2, 2, dtype=torch.uint8), "text": ["a", "b"]}
resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
ways = {
    "torch": lambda: torch.empty(2**40, dtype=torch.uint8),
    "numpy": lambda: np.empty(2**40, dtype=np.uint8),
    "python": lambda: bytearray(2**40),
}
print(json.dumps({name: message(way) for name, way in ways.items()}))
