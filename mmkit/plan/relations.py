"""Relations between the keys of a contrastive task, checked by name before it is built.

The constructor checks them too, but ends at the first. What does not fit is taken out of the configuration, so that the rest can
be planned.
"""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from hydra.utils import get_object

from mmkit.datasets.core import Modalities
from mmkit.plan.findings import Findings
from mmkit.tasks.contrastive_pretraining import ContrastivePretraining


def is_contrastive(config: dict[str, Any]) -> bool:
    """Whether a task is a contrastive pretraining."""
    try:
        cls = get_object(config["_target_"])
    except Exception:  # told when it is built
        return False
    return inspect.isclass(cls) and issubclass(cls, ContrastivePretraining)


def mend_relations(config: dict[str, Any], findings: Findings, train: bool) -> dict[str, Any]:
    """The configuration of the task without what refers to nothing, which is noted.

    Args:
        config: The task as a plain dictionary.
        findings: Takes the mismatches.
        train: Whether it is trained, which needs a loss and an optimizer.
    """
    if not is_contrastive(config):
        return config
    config = dict(config)
    config["modality_module_mapping"] = _mapping(config, findings)
    names = _modalities(config)
    for kind in ("heads", "postprocessors"):
        config[kind] = _used(config, kind, names, findings)
    config["modality_loss_pairs"] = _pairs(config, names, findings)
    config["auxiliary_tasks"] = _auxiliary(config, names, findings)
    for name, example in (("loss", "/modules/losses@task.loss: ContrastiveLoss"), ("optimizer", _OPTIMIZER)):
        if train and config.get(name) is None:
            findings.mismatch(f"task.{name}", f"task.{name} is null, but training needs one. In the defaults list: {example}")
    return config


_OPTIMIZER = "/modules/optimizers@task.optimizer: AdamW"
_KINDS = {"encoder_key": "encoders", "head_key": "heads", "postprocessor_key": "postprocessors"}


def _mapping(config: dict[str, Any], findings: Findings) -> Any:
    kept = {}
    for modality, spec in (config.get("modality_module_mapping") or {}).items():
        key = f"task.modality_module_mapping.{modality}"
        if not Modalities.has_modality(modality):
            findings.mismatch(key, f"{key}: there is no modality {modality!r}. {_known(modality, Modalities.list_modalities())}")
            continue
        spec = dict(spec or {})
        for name, kind in _KINDS.items():
            there = config.get(kind) or {}
            if spec.get(name) is not None and spec[name] not in there:
                findings.mismatch(
                    key, f"{key}.{name}={spec[name]}: there is no task.{kind}.{spec[name]}. {_known(spec[name], there)}"
                )
                spec[name] = None
        if (spec.get("encoder_key") or modality) in (config.get("encoders") or {}):
            kept[modality] = spec
    return kept or None


def _modalities(config: dict[str, Any]) -> list[str]:
    own = [name for name in config.get("encoders") or {} if Modalities.has_modality(name)]
    return list(dict.fromkeys([*own, *(config["modality_module_mapping"] or {})]))


def _used(config: dict[str, Any], kind: str, names: list[str], findings: Findings) -> Any:
    mapping = config["modality_module_mapping"] or {}
    field = {"heads": "head_key", "postprocessors": "postprocessor_key"}[kind]
    used = {mapping.get(name, {}).get(field) or name for name in names}
    for name in [name for name in config.get(kind) or {} if name not in used]:
        key = f"task.{kind}.{name}"
        findings.mismatch(key, f"{key} belongs to no modality of task.encoders. {_known(name, names)}")
    return {name: module for name, module in (config.get(kind) or {}).items() if name in used} or None


def _pairs(config: dict[str, Any], names: list[str], findings: Findings) -> Any:
    pairs = config.get("modality_loss_pairs")
    if pairs is None:
        return None
    kept = []
    for index, pair in enumerate(pairs):
        key = f"task.modality_loss_pairs.{index}"
        unknown = [name for name in pair.get("modalities", []) if name not in names]
        for name in unknown:
            findings.mismatch(key, f"{key} names {name!r}, which has no encoder in task.encoders. {_known(name, names)}")
        if not unknown:
            kept.append(pair)
    return kept


def _auxiliary(config: dict[str, Any], names: list[str], findings: Findings) -> Any:
    kept = {}
    for name, spec in (config.get("auxiliary_tasks") or {}).items():
        if isinstance(spec, dict) and spec.get("modality") not in names:
            key = f"task.auxiliary_tasks.{name}.modality"
            findings.mismatch(key, f"{key}={spec.get('modality')} has no encoder in task.encoders. {_known('', names)}")
        else:
            kept[name] = spec
    return kept or None


def _known(name: Any, known: Iterable[str]) -> str:
    listed = [str(entry) for entry in known]
    close = difflib.get_close_matches(str(name), listed, n=1)
    return f"Did you mean {close[0]}?" if close else f"There are: {', '.join(listed) or 'none'}."
