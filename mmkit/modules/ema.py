"""Exponential moving average of a module's parameters."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedParameters:
    """Exponential moving averages of the trainable parameters of a module: ``average += (1 - decay) * (value - average)``.

    They are kept in float32, or finer if the parameters are: a bfloat16 average would never move by one part in a thousand.

    Args:
        module: Its parameters are the first averages; later calls refer to it.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._parameters: dict[str, nn.Parameter] = {}
        self._averages: dict[str, Tensor] = {}
        self._own_values: dict[str, Tensor] = {}
        self.track()

    def track(self) -> None:
        """Begin to average parameters that have become trainable."""
        for name, parameter in self._module.named_parameters():
            if parameter.requires_grad and name not in self._averages:
                self._parameters[name] = parameter
                self._averages[name] = _copy(parameter, torch.promote_types(parameter.dtype, torch.float32))

    def update(self, decay: float) -> None:
        """Move the averages towards the parameters by ``1 - decay`` of the way."""
        averages = list(self._averages.values())
        values = [p.detach().to(a.dtype) for p, a in zip(self._parameters.values(), averages, strict=True)]
        get_ema_multi_avg_fn(decay)(averages, values, 0)

    @property
    def is_swapped(self) -> bool:
        """Whether the module computes with the averages at the moment."""
        return bool(self._own_values)

    def swap_in(self) -> None:
        """Let the module compute with the averages; its own values are set aside (one more copy of them in memory)."""
        if not self._own_values:
            self._own_values = {name: _copy(parameter, parameter.dtype) for name, parameter in self._parameters.items()}
            self._write(self._averages)

    def swap_out(self) -> None:
        """Give the module its own values back, bit by bit."""
        self._write(self._own_values)
        self._own_values = {}

    def _write(self, values: Mapping[str, Tensor]) -> None:
        with torch.inference_mode(False), torch.no_grad():
            for name, value in values.items():
                self._parameters[name].copy_(value)

    def own_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """``state``, a state dict of the module, with the module's own parameters, swapped or not."""
        return self._replaced(state, self._own_values)

    def averaged_state(self, state: Mapping[str, Any]) -> dict[str, Any]:
        """``state``, a state dict of the module, with copies of the averages for parameters, in the parameters' types."""
        averages = {name: _copy(self._averages[name], p.dtype).to(p.device) for name, p in self._parameters.items()}
        return self._replaced(state, averages)

    def _replaced(self, state: Mapping[str, Any], values: Mapping[str, Tensor]) -> dict[str, Any]:
        if not values:
            return dict(state)
        by_id = {id(self._parameters[name]): value for name, value in values.items()}
        # A shared parameter stands under several names in a state dict, and under one in the averages.
        names = {name: id(p) for name, p in self._module.named_parameters(remove_duplicate=False) if id(p) in by_id}
        return {name: by_id[names[name]] if name in names else value for name, value in state.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """The averages by parameter name; not copies."""
        return dict(self._averages)

    def load_state_dict(self, averages: Mapping[str, Tensor]) -> None:
        """Take averages over, exactly; only what they name is averaged from now on.

        Raises:
            ValueError: An average belongs to no parameter, or has another shape.
        """
        parameters = dict(self._module.named_parameters())
        wrong = [name for name, value in averages.items() if name not in parameters or parameters[name].shape != value.shape]
        if wrong:
            raise ValueError(f"The averages of {', '.join(wrong)} fit no parameter of {type(self._module).__name__}.")
        self._parameters = {name: parameters[name] for name in averages}
        self._averages = {name: _copy(value, value.dtype).to(parameters[name].device) for name, value in averages.items()}


def _copy(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.inference_mode(False), torch.no_grad():  # evaluation loops are in inference mode; the copy outlives them
        return tensor.detach().to(dtype, copy=True)
