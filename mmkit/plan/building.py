"""Components built from their configuration without weights and data, with the key of each remembered."""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader, Dataset

from mmkit.errors import first_line
from mmkit.plan.findings import BrokenError, Findings
from mmkit.plan.symbolic import Building
from mmkit.rng import preserved


MARKS = ("_target_", "_partial_", "_convert_", "_recursive_", "_args_")


class Missing(nn.Module):
    """Stands for a component whose constructor has failed, or that a plan does not build."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise BrokenError

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise BrokenError


class Builder:
    """Builds components on the meta device.

    Pretrained weights are not loaded: a class that names ``initial_weights_arguments`` is built with these instead, as when an
    archive is restored. Data sets and loaders inside a task, such as the bank of a linear probe, are not built.

    Args:
        findings: Takes what constructors object to.

    Attributes:
        objects: What was built, by its key.
        configs: The arguments of each, by its key: those configured, then the defaults of its signature.
    """

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.objects: dict[str, Any] = {}
        self.configs: dict[str, dict[str, Any]] = {}

    def build(self, config: Any, key: str) -> Any:
        """Build what ``config``, a plain dictionary, describes; constructors that fail leave a :class:`Missing` behind."""
        with preserved(), Building(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # e.g. that weights copied into a meta tensor are lost
            try:
                return instantiate(_traced(config, key), _convert_="object")
            except InstantiationException as error:
                return self._fails(key, error.__cause__ or error)
            except Exception as error:
                return self._fails(key, error)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within this, what is built is this builder's, also partials that are called later."""
        token = _builder.set(self)
        try:
            yield
        finally:
            _builder.reset(token)

    def construct(self, key: str, target: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call one target."""
        try:
            component = get_object(target)
        except Exception as error:
            return self._fails(key, error.__cause__ or error)
        if inspect.isclass(component) and issubclass(component, Dataset | DataLoader):
            return Missing()
        kwargs = {**kwargs, **getattr(component, "initial_weights_arguments", {})}
        self.configs[key] = {**_defaults(component), **kwargs}
        try:
            built = component(*args, **kwargs)
        except Exception as error:
            broken = isinstance(error, BrokenError) or any(isinstance(leaf, Missing) for leaf in tree_leaves((args, kwargs)))
            return Missing() if broken else self._fails(key, error)  # else the reason is noted already
        self.objects[key] = built
        return built

    def _fails(self, key: str, error: BaseException) -> Missing:
        self.findings.mismatch(key, f"{key}: {first_line(error)}")
        return Missing()


_builder: ContextVar[Builder] = ContextVar("builder")


def construct(*args: Any, plan_key: str, plan_target: str, **kwargs: Any) -> Any:
    """Stands in a traced configuration where the target stood."""
    return _builder.get().construct(plan_key, plan_target, args, kwargs)


def _traced(node: Any, key: str) -> Any:
    """A copy in which every target is :func:`construct`, which is told the target and its key."""
    if isinstance(node, Mapping):
        copy = {name: value if name in MARKS[:4] else _traced(value, f"{key}.{name}") for name, value in node.items()}
        if "_target_" in copy:
            copy |= {"_target_": f"{__name__}.construct", "plan_key": key, "plan_target": copy["_target_"]}
        return copy
    if isinstance(node, list):
        return [_traced(value, f"{key}.{index}") for index, value in enumerate(node)]
    return node


def _defaults(component: Any) -> dict[str, Any]:
    try:
        parameters = inspect.signature(component).parameters.values()
    except (TypeError, ValueError):
        return {}
    return {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
