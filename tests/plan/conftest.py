"""The small experiment, changed as a test wants it."""

from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from mmkit.conf.base import MMKitConf
from tests.plan.parts import EXPERIMENT


@pytest.fixture
def experiment():
    """Makes the configuration with changes; each is a key and its new value, None to leave it out."""

    def experiment(changes: dict[str, Any] | None = None) -> DictConfig:
        schema = OmegaConf.structured(MMKitConf)
        base = OmegaConf.masked_copy(schema, [name for name in schema if name not in ("defaults", "hydra")])
        cfg = OmegaConf.merge(base, EXPERIMENT)
        for key, value in (changes or {}).items():
            OmegaConf.update(cfg, key, value, merge=False, force_add=True)
        return cfg  # pyright: ignore[reportReturnType]

    return experiment
