"""Which hidden transformations and losses there are: what ``external_store`` has in the groups ``hiddens/…``."""

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.config_source import ConfigLoadError
from hydra.utils import get_object
from omegaconf import DictConfig

from mmkit.conf import index
from mmkit.conf.store import external_store
from mmkit.hiddens.errors import ArgumentsError, HiddensError, UnknownNameError, did_you_mean, listed
from mmkit.hiddens.loss import BaseHiddenLoss
from mmkit.hiddens.transform import BaseHiddenTransform


BASES: dict[str, type] = {"loss": BaseHiddenLoss, "transform": BaseHiddenTransform}


def get_registered_hiddens() -> dict[str, list[str]]:
    """The names that ``cls_name`` can have, as ``{"loss": [...], "transform": [...]}``, those of projects included.

    Example:
        >>> "cond_gaussian" in get_registered_hiddens()["transform"]
        True
    """
    return {kind: [entry.name for entry in index.entries(f"hiddens/{kind}")] for kind in BASES}


def register_hidden_transform(cls_name: str, class_or_path: type[BaseHiddenTransform] | str) -> None:
    """Register a hidden transformation; the same as ``@external_store(group="hiddens/transform", name=cls_name)`` on its class.

    Args:
        cls_name: Its name in configurations.
        class_or_path: The class, or its dotted path, which is imported.

    Raises:
        ValueError: The name is taken, or there is no such class.
        TypeError: It is no hidden transformation.
    """
    _register("transform", cls_name, class_or_path)


def register_hidden_loss(cls_name: str, class_or_path: type[BaseHiddenLoss] | str) -> None:
    """Register a hidden loss; the same as ``@external_store(group="hiddens/loss", name=cls_name)`` on its class.

    Args:
        cls_name: Its name in configurations.
        class_or_path: The class, or its dotted path, which is imported.

    Raises:
        ValueError: The name is taken, or there is no such class.
        TypeError: It is no hidden loss.
    """
    _register("loss", cls_name, class_or_path)


def registered(kind: str, cls_name: Any, key: str) -> DictConfig:
    """The configuration of what is registered under a name: its target and the arguments that the registration sets.

    Args:
        kind: ``"transform"`` or ``"loss"``.
        cls_name: Its name.
        key: Where the name stands, for messages.

    Raises:
        UnknownNameError: Nothing is.
    """
    try:
        return ConfigStore.instance().load(f"hiddens/{kind}/{cls_name}.yaml").node
    except ConfigLoadError:
        known, other = get_registered_hiddens()[kind], next(each for each in BASES if each != kind)
        if cls_name in get_registered_hiddens()[other]:
            raise UnknownNameError(f"{key}={cls_name!r} is a hidden {other}. Write it under hiddens.{other}.") from None
        raise UnknownNameError(
            f"{key}={cls_name!r} is no registered hidden {kind}.{did_you_mean(cls_name, known)} Registered: {listed(known)}. "
            f'Register a class of your own with @external_store(group="hiddens/{kind}", name={cls_name!r}).'
        ) from None


def _register(kind: str, cls_name: str, class_or_path: type | str) -> None:
    cls = _imported(class_or_path) if isinstance(class_or_path, str) else class_or_path
    if not isinstance(cls, type) or not issubclass(cls, BASES[kind]):
        raise ArgumentsError(f"{cls!r} is no hidden {kind}: it must extend mmkit.hiddens.{BASES[kind].__name__}.")
    if "<locals>" in cls.__qualname__:
        raise HiddensError(f"{_path(cls)} is defined inside a function, where no configuration finds it. Move it out of there.")
    found = index.find(f"hiddens/{kind}", cls_name)
    # A project's registration is read from source before it runs, and then finds itself.
    itself = found is not None and not _is_stored(kind, cls_name) and found.target in (class_or_path, _path(cls))
    if found is not None and not itself:
        raise HiddensError(f"The hidden {kind} {cls_name!r} is registered already, as {found.target}. Choose another name.")
    external_store(cls, group=f"hiddens/{kind}", name=cls_name)


def _is_stored(kind: str, cls_name: str) -> bool:
    """Whether a registration of this name has run."""
    return any((entry["group"], entry["name"]) == (f"hiddens/{kind}", cls_name) for entry in external_store)


def _path(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _imported(path: str) -> Any:
    try:
        return get_object(path)
    except (ImportError, AttributeError, ValueError) as error:
        raise HiddensError(f"{path!r} cannot be imported: {error}. Give the class, or package.module.Class.") from error
