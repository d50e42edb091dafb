"""Hydra writes the whole configuration of a sweep down by itself; here it loses its secrets."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mmkit.experiment.redaction import redact, secrets_of


class RedactSweep(Callback):
    """Take the secrets out of ``multirun.yaml`` as soon as a job starts or the sweep ends."""

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        if config.hydra.mode == RunMode.MULTIRUN:  # of a single run, the directory of its sweep must not even be asked for
            _redact(Path(config.hydra.sweep.dir) / "multirun.yaml")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        _redact(Path(config.hydra.sweep.dir) / "multirun.yaml")


def _redact(path: Path) -> None:
    if not path.is_file():
        return  # another sweeper
    before = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    after = redact(before, secrets_of())
    if after != before:
        temporary = path.with_name(f".{path.name}.redacted")
        OmegaConf.save(OmegaConf.create(after), temporary)
        temporary.replace(path)
