"""Experiments compose from source to what they compose to when everything is imported; and without importing anything."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from mmkit.cli.composing import compose
from mmkit.conf import GROUP_MODULES, external_store, fill_group, index, lazy_store
from mmkit.conf.lazy_store import LazyConfigStore
from mmkit.conf.projects import find_projects, search_path


REPOSITORY = Path(__file__).parents[3]
EXPERIMENTS = [name for project in find_projects(REPOSITORY) if "projects." in project.package for name in project.experiments()]


@pytest.fixture(scope="module")
def everything_imported():
    for group in GROUP_MODULES:
        fill_group(group)
    for project in ("apidoc_vae", "emoji_clip", "mega", "molmim"):
        import_module(f"projects.{project}.configs")


@pytest.fixture
def from_source(monkeypatch):
    """The store as it is before anything is imported."""
    store = ConfigStore.instance()
    assert isinstance(store, LazyConfigStore)
    ours = {group.partition("/")[0] for group in GROUP_MODULES}

    def switch():
        monkeypatch.setattr(store, "repo", {name: value for name, value in store.repo.items() if name not in ours})
        monkeypatch.setattr(lazy_store, "_not_imported", lambda group: list(index.readable(group)))

    return switch


@pytest.mark.usefixtures("everything_imported")
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_compose_to_the_same_from_source(experiment, from_source):
    overrides = [f"+experiment={experiment}", "+trainer/callbacks@trainer.callbacks.x=EarlyStopping", "trainer.max_time=3"]
    places = search_path(overrides, find_projects(REPOSITORY))
    imported = compose(overrides=overrides, search_path=places)
    from_source()
    read = compose(overrides=overrides, search_path=places)
    assert OmegaConf.to_yaml(read.cfg) == OmegaConf.to_yaml(imported.cfg)
    assert _typed(read.cfg) == _typed(imported.cfg)
    assert read.choices == imported.choices


def _typed(node):
    meta = node._metadata
    told = [type(node).__name__, str(meta.ref_type), getattr(meta.object_type, "__name__", None), meta.optional, meta.flags]
    if node._is_none() or node._is_missing() or node._is_interpolation() or not OmegaConf.is_config(node):
        return [*told, node._value()]
    return [*told, [(key, _typed(node._get_node(key))) for key in (node if OmegaConf.is_dict(node) else range(len(node)))]]


@pytest.mark.usefixtures("everything_imported")
@pytest.mark.parametrize("group", sorted(GROUP_MODULES))
def test_the_store_lists_the_same_from_source(group, from_source):
    store = ConfigStore.instance()
    for project in ("apidoc_vae", "emoji_clip", "mega", "molmim"):
        index.add_package(f"projects.{project}.configs", REPOSITORY)
    imported = store.list(group)
    from_source()
    assert store.list(group) == imported


def test_what_is_registered_in_this_process_wins(project, write):
    write(parts="from mmkit.conf import external_store\n@external_store(group='g')\ndef part(size=1): ...\n")
    assert ConfigStore.instance().load("g/part.yaml").node.size == 1
    external_store(dict, group="g", name="part", populate_full_signature=False, size=2)
    assert ConfigStore.instance().load("g/part.yaml").node.size == 2


def test_a_module_can_be_imported_after_its_entries_were_composed(project, write):
    write(parts="from mmkit.conf import external_store\n@external_store(group='g')\ndef part(size=1): ...\n")
    read = ConfigStore.instance().load("g/part.yaml").node
    import_module("mine.configs")
    assert ConfigStore.instance().load("g/part.yaml").node == read
    assert ConfigStore.instance().list("g") == ["part.yaml"]


def test_a_group_above_groups_is_listed():
    assert {"encoders", "losses", "optimizers"} <= set(ConfigStore.instance().list("modules"))
    assert {"datasets", "task"} <= set(ConfigStore.instance().list(""))


def test_what_is_loaded_may_be_changed(project, write):
    write(parts="from mmkit.conf import external_store\n@external_store(group='g')\ndef part(size=[1]): ...\n")
    ConfigStore.instance().load("g/part.yaml").node.size.append(2)
    assert ConfigStore.instance().load("g/part.yaml").node.size == [1]


PROGRAM = """
import json, sys
import mmkit.conf.base
from mmkit.cli.composing import compose
from mmkit.conf.projects import find_projects, search_path
overrides = ["+experiment=emoji_clip"]
composed = compose(overrides=overrides, search_path=search_path(overrides, find_projects()))
heavy = ["torch", "lightning", "transformers", "timm", "wandb", "hydra_zen", "torchvision", "numpy", "ast"]
print(json.dumps([sorted(composed.cfg.task), [name for name in heavy if name in sys.modules]]))
"""


def test_a_preview_imports_no_component_cold_or_warm(tmp_path):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    for run in ("cold", "warm"):
        done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        keys, imported = json.loads(done.stdout)
        assert {"encoders", "loss", "optimizer"} <= set(keys)
        assert set(imported) <= {"ast"}, run
