"""What every test relies on: one thread, and global registries and the environment as they were."""

import copy
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hydra.core.config_store import ConfigStore
from hydra_zen import get_target
from hypothesis import HealthCheck, settings

from mmkit.conf import external_store
from mmkit.conf.groups import modules_of
from mmkit.conf.projects import PROJECTS_VARIABLE
from mmkit.conf.run_version import VERSION_VARIABLE
from mmkit.datasets.core import Modalities


torch.set_num_threads(1)  # tiny tensors: more threads only make tests slower
settings.register_profile("mmkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # no test depends on the machine
settings.load_profile("mmkit")


@pytest.fixture(autouse=True)
def clean_modalities() -> Iterator[None]:
    """Undo what the test registers in ``Modalities``."""
    before = copy.deepcopy(vars(Modalities))
    yield
    vars(Modalities).clear()
    vars(Modalities).update(before)


@pytest.fixture(autouse=True)
def clean_environment() -> Iterator[None]:
    """Undo what a run tells the processes that it starts: another test's would join it."""
    yield
    for name in (VERSION_VARIABLE, PROJECTS_VARIABLE):
        os.environ.pop(name, None)


@pytest.fixture
def clean_store(request: pytest.FixtureRequest) -> Iterator[None]:
    """Undo what the test registers with ``external_store`` or in Hydra's ``ConfigStore``.

    What modules of mmkit registered because the test made their first import stays: they will not be imported again.
    """
    repo_before = _copied(ConfigStore.instance().repo)
    entries_before = {(entry["group"], entry["name"]) for entry in external_store}
    modules_before = set(sys.modules)
    yield
    repo_now, kept = ConfigStore.instance().repo, []
    for entry in [entry for entry in external_store if (entry["group"], entry["name"]) not in entries_before]:
        filled_now = not modules_before.issuperset(modules_of(str(entry["group"])))
        if filled_now and get_target(entry["node"]).__module__ != request.module.__name__:
            kept.append([*str(entry["group"]).split("/"), f"{entry['name']}.yaml"])
        else:
            external_store.delete_entry(entry["group"], entry["name"])
    for path in kept:
        _place(repo_before, path, _at(repo_now, path))
    repo_now.clear()  # in place: hydra-zen holds the same dictionary
    repo_now.update(repo_before)


def _copied(repo: dict[str, Any]) -> dict[str, Any]:
    return {name: _copied(node) if isinstance(node, dict) else node for name, node in repo.items()}


def _at(repo: dict[str, Any], path: list[str]) -> Any:
    for name in path:
        repo = repo[name]
    return repo


def _place(repo: dict[str, Any], path: list[str], node: Any) -> None:
    for name in path[:-1]:
        repo = repo.setdefault(name, {})
    repo[path[-1]] = node
