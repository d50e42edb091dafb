"""The states of the global random number generators as plain data, for ``state.json``.

Training does not need them, because every step is seeded anew (``StepRandomness``); they keep what hooks between two steps draw.
"""

import base64
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor


def captured() -> dict[str, Any]:
    """The present states of Python's, NumPy's and torch's generators, as JSON can hold them."""
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached_gauss = np.random.get_state(legacy=True)  # pyright: ignore[reportAssignmentType]
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    return {
        "python": {"version": version, "words": _encoded(np.array(words, dtype=np.uint32)), "gauss": gauss},
        "numpy": {"name": name, "keys": _encoded(keys), "state": [int(position), int(has_gauss), float(cached_gauss)]},
        "torch": _encoded(torch.get_rng_state().numpy()),
        "cuda": [_encoded(state.numpy()) for state in cuda],
    }


def restore(states: dict[str, Any]) -> None:
    """Set the generators to states that ``captured`` returned."""
    python, numpy = states["python"], states["numpy"]
    words = tuple(int(word) for word in np.frombuffer(base64.b64decode(python["words"]), dtype=np.uint32))
    random.setstate((python["version"], words, python["gauss"]))
    keys = np.frombuffer(base64.b64decode(numpy["keys"]), dtype=np.uint32)
    position, has_gauss, cached_gauss = numpy["state"]
    np.random.set_state((numpy["name"], keys, position, has_gauss, cached_gauss))
    torch.set_rng_state(_state_tensor(states["torch"]))
    if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all([_state_tensor(state) for state in states["cuda"]])


def _encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _state_tensor(text: str) -> Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8)
