"""What identifies a data set, for the record of a run."""

import hashlib
import json
from contextlib import suppress
from typing import Any

from omegaconf import DictConfig, OmegaConf


def configured_digest(config: DictConfig) -> dict[str, Any]:
    """Class of a configured data set and a hash of its configuration, without building it."""
    text = json.dumps(OmegaConf.to_container(config, resolve=True), sort_keys=True, default=str)
    return {"class": str(config.get("_target_")), "config": hashlib.sha256(text.encode()).hexdigest()}


def dataset_digest(dataset: Any) -> dict[str, Any]:
    """What a data set says of itself: the result of its ``digest()``, or its ``fingerprint``, and its length."""
    facts: dict[str, Any] = {}
    for name in ("digest", "fingerprint"):
        if (value := getattr(dataset, name, None)) is not None:
            facts["digest"] = str(value() if callable(value) else value)
            break
    with suppress(TypeError, NotImplementedError):  # a stream of unknown length
        facts["length"] = len(dataset)
    return facts
