"""The store of configurable components: ``@external_store(group=...)`` on a definition makes it a config."""

import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from hydra_zen import ZenStore
from omegaconf import MISSING

from mmkit.conf.lazy_store import install_lazy_store


install_lazy_store()

#: The store behind every config group. Use it as a decorator on classes and functions; entries reach Hydra at once.
#:
#: Presets stack above the plain entry and only name what differs::
#:
#:     @external_store(group="modules/encoders", name="vit_tiny", width=192)
#:     @external_store(group="modules/encoders")
#:     class VisionTransformer(nn.Module): ...
#:
#: Components receive plain lists and dicts (``hydra_convert="object"``), never OmegaConf containers.
external_store = ZenStore(name="external_store", deferred_to_config=False, deferred_hydra_store=False)(hydra_convert="object")


def register_external_modules(
    module: ModuleType,
    group: str,
    name: str | None = None,
    package: str | None = None,
    provider: str | None = None,
    base_cls: type | None = None,
    ignore_cls: Sequence[type] = (),
    ignore_prefix: str | None = None,
    **kwargs_for_builds: Any,
) -> None:
    """Register every public class that a module offers.

    Args:
        module: The module whose classes are registered, e.g. ``torch.optim``.
        group: Config group of the entries.
        name: Name of the entry; only sensible when the filters leave one class. Default: the class's name.
        package: Package of the entries, as in Hydra.
        provider: Provider of the entries, shown by Hydra's ``--info``.
        base_cls: Register only subclasses of this class, not the class itself.
        ignore_cls: Classes that are left out.
        ignore_prefix: Leave out classes whose name starts so.
        **kwargs_for_builds: Passed to ``hydra_zen.builds``, e.g. ``zen_partial=True``.
    """
    for class_name, cls in vars(module).items():
        if not inspect.isclass(cls) or class_name.startswith("_") or cls in ignore_cls or inspect.isabstract(cls):
            continue
        if base_cls is not None and (not issubclass(cls, base_cls) or cls is base_cls):
            continue
        if ignore_prefix is not None and class_name.startswith(ignore_prefix):
            continue
        where = {"package": package} if package is not None else {}
        where |= {"provider": provider} if provider is not None else {}
        external_store(cls, group=group, name=name or class_name, **where, **kwargs_for_builds)


def register_table(
    module: str, names: Sequence[str], group: str, supplied: Sequence[str] | None = None, **kwargs_for_builds: Any
) -> None:
    """Register classes of another library by their names.

    Unlike ``register_external_modules``, this is read without importing the library; so write all arguments out where it is
    called. Names that the installed version of the library does not have are left out.

    Args:
        module: The module that offers the classes, e.g. ``"torch.optim"``.
        names: Their names in it, which become the names of the entries.
        group: Config group of the entries.
        supplied: For partials: the arguments that the caller of the partial passes itself, e.g. ``["params"]``. All others
            without a default become ``???``; a partial would leave them out.
        **kwargs_for_builds: Passed to ``hydra_zen.builds``, e.g. ``zen_partial=True``.
    """
    library = import_module(module)
    for name in names:
        cls = getattr(library, name, None)
        if cls is not None:
            required = {} if supplied is None else required_arguments(cls, supplied)
            external_store(cls, group=group, name=name, **required, **kwargs_for_builds)


def required_arguments(target: Callable[..., Any], supplied: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments without a default, each as ``???``.

    A partial config leaves out arguments without a default; adding these makes the missing ones visible and checked.

    Args:
        target: The class or function that is configured.
        supplied: Arguments that the caller of the partial passes itself, e.g. ``["optimizer"]``.
    """
    return {
        parameter.name: MISSING
        for parameter in inspect.signature(target).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name not in supplied
    }
