"""Archives made by hand: a good one, and what it takes to change one thing of it."""

import copy
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import torch
import yaml
from safetensors.torch import save

from mmkit.archive.format import CONFIG, MANIFEST, WEIGHTS
from mmkit.archive.tar import END, padding, tar_header


Files = Iterator[tuple[str, bytes, str]]  # name, contents, part of the reason to refuse them

TASK = "mmkit.tasks.contrastive_pretraining.ContrastivePretraining"
LINEAR = "torch.nn.modules.linear.Linear"
GET_OBJECT = "hydra_zen.funcs.get_obj"
CANARY = "$CANARY"

GOOD_CONFIG: dict[str, Any] = {
    "_target_": TASK,
    "encoders": {
        "rgb": {"_target_": "mmkit.modules.encoders.identity.IdentityEncoder", "modality": "rgb"},
        "text": {"_target_": "mmkit.modules.encoders.identity.IdentityEncoder", "modality": "text"},
    },
    "heads": {name: {"_target_": LINEAR, "in_features": 2, "out_features": 2} for name in ("rgb", "text")},
    "loss": {"_target_": "mmkit.modules.losses.contrastive.ContrastiveLoss", "l2_normalize": True},
    "optimizer": {"_target_": "torch.optim.adamw.AdamW", "_partial_": True, "lr": 0.1},
}
SHAPES = {f"model.heads.{name}.{kind}": shape for name in ("rgb", "text") for kind, shape in (("weight", (2, 2)), ("bias", (2,)))}


class Payload:
    """Unpickling this creates a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {CANARY}",)


def good_weights() -> bytes:
    return save({"log_logit_scale": torch.tensor(1.0), **{name: torch.ones(shape) for name, shape in SHAPES.items()}})


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar_of(members: list[tuple[str, bytes]], end: bytes = END) -> bytes:
    return b"".join(tar_header(name, len(data)) + data + padding(len(data)) for name, data in members) + end


def good_manifest(members: dict[str, bytes], artifacts: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "format": "mmkit-archive",
        "version": 1,
        "provenance": {},
        "members": {name: {"size": len(data), "sha256": sha(data)} for name, data in members.items()},
        "artifacts": artifacts or {},
        "registrations": [],
        "aliases": {},
        "withheld": [],
    }


def archive(
    config: Any = None, weights: bytes | None = None, files: dict[str, bytes] | None = None, manifest: Any = None, **changes: Any
) -> bytes:
    """An archive whose manifest fits its members.

    Args:
        config: A mapping, or the text of the configuration.
        weights: The member of the weights.
        files: Artifacts by name.
        manifest: The text of the manifest instead of a fitting one.
        **changes: Changes of the manifest.
    """
    config = GOOD_CONFIG if config is None else config
    text = config if isinstance(config, bytes) else yaml.safe_dump(config, sort_keys=False).encode()
    members = {CONFIG: text, WEIGHTS: good_weights() if weights is None else weights}
    artifacts = {}
    for name, data in (files or {}).items():
        stored = f"{sha(data)}-{name}"
        members[f"artifacts/{stored}"] = data
        artifacts[stored] = {"name": name, "folder": False, "files": {name: f"artifacts/{stored}"}}
    table = {**good_manifest(members, artifacts), **changes}
    table = manifest if manifest is not None else json.dumps(table).encode()
    return tar_of([(MANIFEST, table), *members.items()])


def changed(key: str, value: Any, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """The good configuration with another value under a dotted key."""
    config = copy.deepcopy(base or GOOD_CONFIG)
    *outer, last = key.split("/")
    place = config
    for name in outer:
        place = place.setdefault(name, {})
    place[last] = value
    return config
