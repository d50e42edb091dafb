"""The states of the global random number generators as plain data, for ``state.json``.

Training does not need them, because every step is seeded anew (``StepRandomness``); they keep what hooks between two steps draw.
"""

import base64
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkit import rng


def captured() -> dict[str, Any]:
    """The present states of Python's, NumPy's and torch's generators, as JSON can hold them."""
    states = rng.captured()
    version, words, gauss = states.python
    name, keys, *position = states.numpy
    return {
        "python": {"version": version, "words": _encoded(np.array(words, dtype=np.uint32)), "gauss": gauss},
        "numpy": {"name": name, "keys": _encoded(keys), "position": position},
        "torch": _encoded(states.torch.numpy()),
        "cuda": [_encoded(state.numpy()) for state in states.cuda],
        "key": states.key,
    }


def restore(states: dict[str, Any]) -> None:
    """Set the generators to states that ``captured`` returned; those of CUDA only if there are as many devices."""
    python, numpy = states["python"], states["numpy"]
    words = tuple(int(word) for word in _decoded(python["words"], np.uint32))
    cuda = states["cuda"] if len(states["cuda"]) == torch.cuda.device_count() else []
    rng.restore(
        rng.States(
            python=(python["version"], words, python["gauss"]),
            numpy=(numpy["name"], _decoded(numpy["keys"], np.uint32), *numpy["position"]),
            torch=_state_tensor(states["torch"]),
            cuda=[_state_tensor(state) for state in cuda],
            key=states["key"],
        )
    )


def _encoded(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()


def _decoded(text: str, dtype: Any) -> np.ndarray:
    return np.frombuffer(bytearray(base64.b64decode(text)), dtype=dtype)


def _state_tensor(text: str) -> Tensor:
    return torch.from_numpy(_decoded(text, np.uint8))
