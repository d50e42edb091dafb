"""What reading says of every registered component, against what hydra-zen builds from the imported one."""

import sys
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from importlib import import_module
from typing import Any

import pytest
from hydra_zen import builds

import mmkit  # noqa: F401  # first: repairs torchvision's import
from mmkit.conf import GROUP_MODULES, external_store
from mmkit.conf.reading import REQUIRED, EnumMember, Instance, ObjectPath, Unreadable, read_signature


# Arguments whose default only importing tells, with the reason.
UNREADABLE = {
    "lightning.pytorch.loggers.mlflow.MLFlowLogger.tracking_uri": "an environment variable",
}
# Arguments whose default no configuration can hold, so that the registration gives another.
GIVEN: dict[str, dict[str, Any]] = {
    "lightning.pytorch.callbacks.stochastic_weight_avg.StochasticWeightAveraging": {"device": "cpu"},
}


@pytest.fixture(scope="module")
def targets() -> list[str]:
    """The path of every component of mmkit and of the shipped projects."""
    for module in GROUP_MODULES.values():
        import_module(module)
    for project in ("apidoc_vae", "emoji_clip", "mega", "molmim"):
        import_module(f"projects.{project}.configs")
    nodes = [entry["node"] for entry in external_store]
    return sorted({node._target_ for node in nodes if hasattr(node, "_target_")})


def test_every_static_signature_is_that_of_the_build(targets: list[str]) -> None:
    differences = [line for target in targets for line in _differences(target)]
    assert not differences, "\n".join(differences)
    assert len(targets) > 250


def test_only_known_arguments_are_unreadable(targets: list[str]) -> None:
    signatures = [read_signature(target) for target in targets]
    unreadable = {
        f"{signature.target}.{each.name}"
        for signature in signatures
        for each in signature.fields()
        if each.name not in GIVEN.get(signature.target, {}) and isinstance(each.type, Unreadable)
    }
    assert unreadable == set(UNREADABLE)


def _differences(target: str) -> list[str]:
    try:
        signature = read_signature(target)
    except Unreadable as error:
        return [f"{target}: {error}"]
    module, _, name = target.rpartition(".")
    given = GIVEN.get(target, {})
    built = builds(getattr(sys.modules[module], name), populate_full_signature=True, hydra_convert="object", **given)
    expected = [(field.name, _shown_type(field.type), _shown(_default(field))) for field in fields(built) if field.init]
    values = {each.name: each.default for each in signature.fields()} | given
    found = [(each.name, str(each.type_for(values[each.name])), _shown(values[each.name])) for each in signature.fields()]
    lines = [] if signature.target == built._target_ else [f"{target}: target {signature.target}, not {built._target_}"]
    if [each[0] for each in found] != [each[0] for each in expected]:
        return [*lines, f"{target}: names {[each[0] for each in found]}, not {[each[0] for each in expected]}"]
    pairs = [each for each in zip(found, expected, strict=True) if f"{target}.{each[0][0]}" not in UNREADABLE]
    return lines + [f"{target}: {ours}, not {theirs}" for ours, theirs in pairs if ours != theirs]


def _default(field: Any) -> Any:
    if field.default_factory is not MISSING:
        return field.default_factory()
    return REQUIRED if field.default is MISSING else field.default


def _shown_type(type_: Any) -> str:
    return type_.__name__ if type(type_) is type else str(type_).replace("typing.", "")


def _shown(value: Any) -> str:
    """A default as text, hydra-zen's objects and those of the reader in the same words."""
    if isinstance(value, ObjectPath):
        return f"object {value.path}"
    if isinstance(value, Instance):
        return f"instance {value.target} {_shown(dict(value.arguments))}"
    if isinstance(value, EnumMember):
        return f"member {value.enum}.{value.name}"
    if isinstance(value, Enum):
        return f"member {type(value).__module__}.{type(value).__qualname__}.{value.name}"
    if is_dataclass(value):  # made by hydra-zen
        path, target = getattr(value, "path", None), getattr(value, "_target_", None)
        arguments = {each.name: _default(each) for each in fields(value) if each.init}
        return f"object {path}" if path is not None else f"instance {target} {_shown(arguments)}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {_shown(each)}' for key, each in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(_shown(each) for each in value)})"
    return repr(value)
