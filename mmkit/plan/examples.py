"""What one example of a data set looks like, without its data.

A data set says so in a static method or class method ``example_spec``. It takes the constructor's arguments, with the example of
another data set in place of that data set, and returns an :class:`~mmkit.datasets.core.Example` as ``__getitem__`` would: tensors
without values (``torch.empty(3, 96, 96, dtype=torch.uint8, device="meta")``), texts of a typical length, numbers.
"""

from collections.abc import Mapping
from typing import Any

import torch
from hydra.utils import get_object
from torch import Tensor, nn
from torch.utils.data import Dataset

from mmkit.datasets.core import Example
from mmkit.plan.building import MARKS, Builder, Missing
from mmkit.plan.findings import BrokenError
from mmkit.plan.guards import Guards
from mmkit.plan.symbolic import Stepping


class ExampleReader:
    """Asks configured data sets for an example.

    Args:
        builder: Builds what they need besides data, such as encoders and tokenizers.
        guards: Stand around these encoders.
    """

    def __init__(self, builder: Builder, guards: Guards) -> None:
        self.builder, self.guards = builder, guards
        self._known: dict[str, Example | None] = {}
        self.origins: dict[str, str] = {}

    def of_split(self, config: Mapping[str, Any] | None, key: str) -> dict[str, Example | None]:
        """An example of every data set of a split, by its key; None where the data set does not say what its examples hold."""
        entries = {key: config} if config and "_target_" in config else {f"{key}.{name}": c for name, c in (config or {}).items()}
        return {name: self._example(entry, name) for name, entry in entries.items() if entry is not None}

    def _example(self, config: Mapping[str, Any], key: str) -> Example | None:
        known = repr(config)  # val and test are often configured as train is
        if known not in self._known:
            self._known[known] = self._asked(config, key)
        return self._known[known]

    def _asked(self, config: Mapping[str, Any], key: str) -> Example | None:
        try:
            cls = get_object(config["_target_"])
        except Exception as error:
            self.builder.findings.mismatch(key, f"{key}: {error.__cause__ or error}")
            return None
        if getattr(cls, "example_spec", None) is None:
            return None
        try:
            arguments = {name: self._argument(value, f"{key}.{name}") for name, value in config.items() if name not in MARKS}
            with self.guards.step, torch.no_grad():
                example = cls.example_spec(**_without_values(self.guards.step, arguments))
        except (BrokenError, UnknownExampleError):
            return None
        except Exception as error:
            self.builder.findings.mismatch(key, f"{key}: {str(error).partition(chr(10))[0]}")
            return None
        for name in example:
            encoder = f"{key}.encoders.{name}"
            self.origins[name] = encoder if encoder in self.builder.objects else self.origins.get(name, key)
        return Example(example)

    def _argument(self, value: Any, key: str) -> Any:
        if isinstance(value, Mapping):
            if "_target_" not in value:
                return {name: self._argument(entry, f"{key}.{name}") for name, entry in value.items()}
            if _is_dataset(value["_target_"]):
                example = self._example(value, key)
                if example is None:
                    raise UnknownExampleError(key)
                return example
            built = self.builder.build(value, key)
            if isinstance(built, nn.Module) and not isinstance(built, Missing):
                self.guards.step.adopt(built)
                self.guards.watch(built, key, itself=True)
            return built
        return value


def _without_values(step: Stepping, arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments whose examples hold tensors as the step knows them, not of the meta device."""
    return {name: _adopted(step, value) if isinstance(value, Example) else value for name, value in arguments.items()}


def _adopted(step: Stepping, example: Example) -> Example:
    return Example({key: step.abstract(value) if isinstance(value, Tensor) else value for key, value in example.items()})


class UnknownExampleError(Exception):
    """A data set inside another does not say what its examples hold."""


def _is_dataset(target: str) -> bool:
    try:
        found = get_object(target)
    except Exception:  # told when it is built
        return False
    return isinstance(found, type) and issubclass(found, Dataset)
