"""Loggers: every one of Lightning, each written under the run directory. None needs its package before it is used."""

import inspect
from typing import Any

from lightning.pytorch import loggers
from lightning.pytorch.loggers.logger import DummyLogger

from mmkit.conf.store import external_store


_RUN_DIR = "${hydra:runtime.output_dir}"
_DIRECTORY_ARGUMENTS = ("save_dir", "_offline_directory", "offline_directory")

for _name in loggers.__all__:
    _cls = getattr(loggers, _name)
    if inspect.isclass(_cls) and issubclass(_cls, loggers.Logger) and _cls not in (loggers.Logger, DummyLogger):
        _parameters = inspect.signature(_cls).parameters
        _directory: dict[str, Any] = {name: _RUN_DIR for name in _DIRECTORY_ARGUMENTS if name in _parameters}
        external_store(_cls, group="trainer/logger", name=_name, **_directory)
