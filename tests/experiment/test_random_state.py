import json
import random

import numpy as np
import torch

from mmkit.experiment import random_state


def drawn():
    return [
        random.random(),
        random.gauss(0, 1),
        *np.random.rand(2),
        np.random.randn(),
        *torch.rand(2).tolist(),
        torch.randn(()).item(),
    ]


def test_numbers_after_a_restore_are_those_after_the_capture():
    drawn()  # leaves half of a pair of normal numbers in both generators
    states = json.loads(json.dumps(random_state.captured()))
    expected = drawn()
    drawn()
    random_state.restore(states)
    assert drawn() == expected
