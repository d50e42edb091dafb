"""The configuration that a run left in its directory, as Hydra takes it to go on with the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from mmkit.conf import MMKitConf
from mmkit.conf.projects import Project, import_from, use
from mmkit.conf.run_version import RECORD
from mmkit.errors import RefusedError, UsageError
from mmkit.experiment.redaction import REDACTED
from mmkit.experiment.run_dir import read_record


NAME = "saved_run"


def register_saved(directory: Path, overrides: Sequence[str]) -> list[str]:
    """Make the configuration of a run the one that is composed.

    Args:
        directory: The run's directory.
        overrides: What the user typed besides.

    Returns:
        All overrides with which the run goes on.

    Raises:
        RefusedError: There is no run in the directory.
        UsageError: A secret that is not kept on disk has to be given again.
    """
    directory = directory.resolve()
    saved = saved_configuration(directory, overrides)
    record = read_record(directory)
    for folder in record.get("import_roots", []):
        import_from(Path(folder))
    for root, package in record.get("packages", []):
        use(Project(Path(root), package))
    ConfigStore.instance().store(name=NAME, node=saved, provider="mmkit")
    own = [f"exp_manager.explicit_log_dir={directory}", "exp_manager.version=null", "resume_from_checkpoint=null"]
    return [*own, "exp_manager.resume_if_exists=true", *overrides]


def saved_configuration(directory: Path, overrides: Sequence[str]) -> DictConfig:
    """The configuration of a run, as Hydra takes it."""
    path = directory / "config.yaml"
    if not (directory / RECORD).is_file() or not path.is_file():
        raise RefusedError(f"{directory}: there is no run. `ls` its parent, or give the directory that the run printed.")
    saved = OmegaConf.load(path)
    given = {override.lstrip("+").partition("=")[0] for override in overrides}
    if missing := [key for key in masked_keys(saved) if key not in given]:
        raise UsageError(f"Secrets are not kept on disk. Give again: {' '.join(f'{key}=…' for key in missing)}")
    base = OmegaConf.structured(MMKitConf)
    base.defaults = ["_self_", {"override hydra/job_logging": "mmkit"}]
    return OmegaConf.merge(base, saved)  # pyright: ignore[reportReturnType]


def masked_keys(node: Any, key: str = "") -> list[str]:
    """Keys whose values were secrets."""
    node = OmegaConf.to_container(node) if OmegaConf.is_config(node) else node
    if not isinstance(node, dict | list):
        return [key] if isinstance(node, str) and REDACTED in node else []
    items = node.items() if isinstance(node, dict) else enumerate(node)
    return [found for name, value in items for found in masked_keys(value, f"{key}.{name}" if key else str(name))]
