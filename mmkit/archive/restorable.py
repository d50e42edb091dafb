"""What a task needs to be saved and restored."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from mmkit.archive.artifacts import ArtifactFolder
from mmkit.archive.restore import current_restoration, restore_archive
from mmkit.archive.save import save_archive
from mmkit.archive.task_config import plain_data
from mmkit.extras import resolve_location


class Restorable:
    """Mixin of modules that can be saved to an archive, or that register files for the archive of the task they belong to."""

    plain_config: dict[str, Any] | None = None
    artifact_folder: ArtifactFolder | None = None

    @property
    def config(self) -> DictConfig | None:
        """The configuration that the task was built from; None if it was built in Python. Set it to make the task savable."""
        return None if self.plain_config is None else OmegaConf.create(self.plain_config)

    @config.setter
    def config(self, config: Any) -> None:
        self.plain_config = plain_data(config)

    @property
    def registered_artifacts(self) -> dict[str, str | None]:
        """Paths of the registered artifacts; None for those that were not found."""
        return self.__dict__.setdefault("_registered_artifacts", {})

    def register_artifact(self, config_path: str, src: str | Path | None, verify_src_exists: bool = True) -> str | None:
        """Let a file, or a folder, become part of the archive; to be called when the module is built.

        Args:
            config_path: Key of the artifact; usually the dotted key of the configuration that names the file, which is then
                ``mmkit:<sha256>-<name>`` in the archive.
            src: Path of the file, or ``pkg://package/folder``.
            verify_src_exists: Whether it is an error if there is no such file.

        Returns:
            The path to use: ``src``, or that of the artifact in the archive while a task is being restored; it stays valid as
            long as the restored task lives. None if there is no such file and that is no error.

        Raises:
            FileNotFoundError: If there is no such file.
        """
        path = None if src is None else str(src)
        if (restoration := current_restoration()) is not None:
            path = restoration.locate(f"{type(self).__module__}.{type(self).__qualname__}", config_path, path)
        if path is not None and Path(resolve_location(path)).expanduser().exists():
            self.registered_artifacts[config_path] = path
            return resolve_location(path)
        if verify_src_exists:
            raise FileNotFoundError(f"The artifact {config_path!r} needs the file {path!r}, which does not exist.")
        self.registered_artifacts[config_path] = None
        return None

    def save_to(self, path: str | Path, provenance: Mapping[str, Any] | None = None) -> Path:
        """Save configuration, weights and artifacts in one file.

        Args:
            path: The file; the suffix ``.mmkit`` is added if it has none.
            provenance: Where it comes from, e.g. the run's name; JSON data.

        Returns:
            The file.

        Raises:
            UsageError: If there is no configuration, or one that no file can hold, or an artifact is missing.
            MMKitError: If the file cannot be written.
        """
        return save_archive(self, path, provenance)  # pyright: ignore[reportArgumentType]

    @classmethod
    def restore_from(
        cls,
        path: str | Path,
        map_location: str | torch.device | None = None,
        strict: bool = True,
        override_config: Mapping[str, Any] | Sequence[str] | None = None,
        return_config: bool = False,
        *,
        trust: Collection[str] = (),
    ) -> Self | Any:
        """Restore a task from an archive.

        The file is data: it can name only classes and functions that are registered with ``external_store``, so import the
        project that the archive comes from first.

        Args:
            path: The file.
            map_location: Device of the task. Default: the CPU.
            strict: Whether the file must hold exactly the state of the task; if not, what is missing or left over is logged.
                Other shapes are always an error.
            override_config: Changes: a mapping, nested or with dotted keys, or a list like
                ``["loss.l2_normalize=true", "~evaluation_tasks.sheet"]``.
            return_config: Return the configuration instead of the task.
            trust: What the configuration may name beside: exact names of classes and functions, paths, arguments that load
                code.

        Returns:
            The task, in training mode, or its configuration.

        Raises:
            RefusedError: If the file is damaged or names anything that is neither registered nor trusted.
        """
        return restore_archive(path, map_location, strict, override_config, return_config, trust, base=cls)

    def adapt_state(self, state: dict[str, torch.Tensor]) -> None:
        """Change a saved state in place before it is loaded; a task may leave out what it no longer has."""


def build(config: Any) -> Any:
    """Build a task from a configuration of your own, so that it can be saved.

    Args:
        config: A mapping with a ``_target_``, or a config made by ``hydra_zen.builds``. It may name any code.

    Example:
        >>> build({"_target_": "builtins.dict"})
        Traceback (most recent call last):
        TypeError: builtins.dict cannot be saved: it does not extend TrainingTask.
    """
    plain = plain_data(config)
    task = instantiate(config, _convert_="object")
    if not isinstance(task, Restorable):
        raise TypeError(f"{plain['_target_']} cannot be saved: it does not extend TrainingTask.")
    task.plain_config = plain
    return task
