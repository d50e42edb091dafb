"""The reference cases of tests/models/mega/reference (its README says what each kind holds) and how to run them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmkit.models import mega
from mmkit.models.mega import MegaConfig, MegaModel


REFERENCE = Path(__file__).parent / "reference"
FP32 = 2e-5  # absolute; the data's own noise is up to 4.6e-6


@dataclass(frozen=True)
class Case:
    """One line of index.json; its tensors are read when they are asked for."""

    name: str
    kind: str
    model_class: str
    params: str
    config: dict[str, Any]
    call: dict[str, Any]

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """The tensors under ``in/``, ``out/`` or ``gradnorm/``, without that prefix."""
        tensors = load_file(REFERENCE / f"{self.name}.safetensors")
        return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}

    def inputs(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """The keyword arguments of the call that are tensors."""
        return {n: t.to(dtype) if t.is_floating_point() else t for n, t in self.tensors("in/").items() if n != "_probe"}

    def state_dict(self) -> dict[str, Tensor]:
        return load_file(REFERENCE / self.params)

    def model(self, **changes: Any) -> Any:
        """The model of the case, in evaluation mode; ``changes`` are keywords of ``MegaConfig`` that differ."""
        model = getattr(mega, self.model_class)(MegaConfig(**{**self.config, **changes}))
        model.load_state_dict(self.state_dict())
        return model.eval()


def cases(*kinds: str, prefix: str = "") -> list[Case]:
    """The cases of these kinds whose names begin so, in the order of the index."""
    index = json.loads((REFERENCE / "index.json").read_text())
    return [
        Case(e["case"], e["kind"], e["model_class"], e["params"], json.loads(e["config"]), json.loads(e["call"]))
        for e in index
        if e["kind"] in kinds and e["case"].startswith(prefix)
    ]


def named(name: str) -> Case:
    """The case of that name."""
    (found,) = [case for case in cases("hf", "fixed", "invariant", "original") if case.name == name]
    return found


def difference(ours: Tensor, expected: Tensor) -> float:
    """The greatest absolute difference, infinite where ours is not a number; shapes must be equal."""
    assert ours.shape == expected.shape, f"{tuple(ours.shape)} instead of {tuple(expected.shape)}"
    return (ours.double() - expected.double()).abs().nan_to_num(nan=float("inf")).max().item()


def flat_outputs(output: Any) -> dict[str, Tensor]:
    """Everything that a model returned under the names of the reference data."""
    found = {name: value for name, value in output.items() if isinstance(value, Tensor)}
    for field in ("hidden_states", "attentions", "cross_attentions"):
        found |= {f"{field}.{i}": value for i, value in enumerate(getattr(output, field, None) or ())}
    if getattr(output, "past_key_values", None) is not None:
        legacy = output.past_key_values.to_legacy_cache()
        found |= {f"past.{i}.{j}": value for i, layer in enumerate(legacy) for j, value in enumerate(layer)}
    return found


def decoded(model: Any, steps: list[int], **inputs: Tensor) -> Tensor:
    """The main output of feeding ``input_ids`` or ``inputs_embeds`` in pieces of these lengths, with a cache."""
    name = "input_ids" if "input_ids" in inputs else "inputs_embeds"
    tokens, rest = inputs[name], {key: value for key, value in inputs.items() if key != name}
    cache, outputs = None, []
    with torch.no_grad():
        for piece in tokens.split(steps, dim=1):
            output = model(**{name: piece}, **rest, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            outputs.append(output.last_hidden_state if isinstance(model, MegaModel) else output.logits)
    return torch.cat(outputs, dim=1)
