"""The batch of an experiment: from its data sets, its collator, its encoders and the command line."""

from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from mmkit.dataloader.loaders import ConfiguredData
from mmkit.datasets.core import DefaultDataCollator, Example, Modalities
from mmkit.errors import UsageError, first_line
from mmkit.models.multimodal_encoder import MultimodalEncoder
from mmkit.plan.batches import IDS, Shapes, collated, from_encoders, given, merged, with_largest_ids, without_values
from mmkit.plan.building import Builder, Missing
from mmkit.plan.findings import BrokenError
from mmkit.plan.guards import Guards
from mmkit.tasks.base import TrainingTask


class BatchPlanner:
    """Makes a batch without values, and notes what the encoders miss in it.

    Args:
        cfg: The composed configuration.
        stage: Whose batch: ``"train"``, ``"val"`` or ``"test"``.
        task: The task, for what its encoders read.
        builder: Builds the collator.
        guards: Are told where entries come from.
        origins: Where the keys of examples come from.
        shapes: What the command line says of entries.
    """

    def __init__(
        self,
        cfg: DictConfig,
        stage: str,
        task: TrainingTask,
        builder: Builder,
        guards: Guards,
        origins: dict[str, str],
        shapes: Shapes,
    ) -> None:
        self.cfg, self.stage, self.task = cfg, stage, task
        self.builder, self.guards = builder, guards
        self.origins, self.shapes = origins, shapes
        self.datasets = plain(cfg.datasets, "datasets")

    def batch(self, examples: dict[str, Example | None], with_data: bool) -> dict[str, Any]:
        source = self.source(self.stage)
        if not examples:
            self.builder.findings.mismatch(source, f"{source} is empty. Name a data set: /datasets@{source}.NAME: CLASS.")
        if with_data and examples:
            return self._real_batch(examples)
        example = merged(examples, self.builder)
        lacking = [name for name in read_by(self.task) if name not in example and name not in self.shapes]
        if examples and all(found is not None for found in examples.values()):
            self.note_lacking(lacking, example, source)
            lacking = []
        batch = self._collated(example) if example else {}
        self._note_strings(batch, lacking)
        self._fill(batch, lacking, list(examples))
        return batch

    def note_lacking(self, lacking: list[str], example: Example, source: str) -> None:
        have = ", ".join(key for key in example if key not in IDS)
        for name in lacking:
            key = read_by(self.task)[name]
            self.builder.findings.mismatch(key, f"{key} reads {name!r}, which {source} does not give (it gives: {have}).")

    def _collated(self, example: Example) -> dict[str, Any]:
        loader, key = self.cfg.dataloader[self.stage], f"dataloader.{self.stage}.collate_fn"
        collate = self.builder.build(plain(loader.collate_fn, key), key)
        processors = dict(getattr(collate, "batch_processors", None) or {})
        self._note_processors(processors, example, f"{key}.batch_processors")
        present = {name: process for name, process in processors.items() if name in example and not isinstance(process, Missing)}
        if isinstance(collate, DefaultDataCollator):
            collate.batch_processors = present
        elif isinstance(collate, Missing):
            collate = DefaultDataCollator()
        try:
            batch = collated(example, self._batch_size(), collate, self.guards.step)
        except Exception as error:
            if not isinstance(error, BrokenError):  # else the reason is noted already
                self.builder.findings.mismatch(key, f"{key}: {first_line(error)}")
            batch = collated(example, self._batch_size(), DefaultDataCollator(), self.guards.step)
        with_largest_ids(batch, present)
        self.guards.origins |= {name: self.origins.get(name, self.source(self.stage)) for name in batch}
        self.guards.origins |= {name: f"{key}.batch_processors.{name}" for name in present}
        return batch

    def _note_processors(self, processors: dict[str, Any], example: Example, key: str) -> None:
        for name, process in processors.items():
            writes = getattr(process, "modality", name)
            if name not in example and name not in Modalities.keys_of_all():
                have = ", ".join(entry for entry in example if entry not in IDS)
                self.builder.findings.mismatch(f"{key}.{name}", f"{key}.{name} has nothing to process: the data gives {have}.")
            elif name in example and isinstance(writes, str) and writes != name:
                self.builder.findings.mismatch(
                    f"{key}.{name}", f"{key}.{name}.modality={writes} does not match its key: it writes {writes!r}, not {name!r}."
                )

    def _note_strings(self, batch: dict[str, Any], lacking: list[str]) -> None:
        """Text that no tokenizer has seen; the step goes on with what the encoder reads, if it says so."""
        key = f"dataloader.{self.stage}.collate_fn.batch_processors"
        for name in [name for name in read_by(self.task) if isinstance(batch.get(name), list)]:
            encoder, origin = read_by(self.task)[name], self.guards.origins[name]
            self.builder.findings.mismatch(
                encoder, f"{encoder} reads {name!r} as a tensor, but {origin} gives text: add a tokenizer as {key}.{name}."
            )
            del batch[name]
            lacking.append(name)

    def _fill(self, batch: dict[str, Any], lacking: list[str], datasets: list[str]) -> None:
        """Take what is missing from the command line, or from what the encoders say they read."""
        readers = {*read_by(self.task).values()}
        encoders = {key: part for key, part in self.builder.objects.items() if key in readers}
        assumed = from_encoders(encoders, lacking)
        given(batch, {**assumed, **self.shapes}, self._batch_size(), self.guards.step)
        self.guards.origins |= dict.fromkeys(assumed, "the batch") | {name: f"--shape {name}" for name in self.shapes}
        for name, (shape, _) in assumed.items():
            self.builder.findings.assume(f"{name} is {shape}, as its encoder asks; --shape {name}=… or --data says otherwise.")
        for name in [name for name in lacking if name not in batch]:
            self.builder.findings.unknown(
                f"Nothing says what {name!r} looks like: {', '.join(datasets)} has no example_spec. "
                f"Give --shape {name}=3x224x224, or --data for a real batch."
            )

    def _batch_size(self) -> int:
        loader = self.cfg.dataloader[self.stage]
        sampler = loader.batch_sampler
        return int((sampler.get("batch_size") if sampler else None) or loader.batch_size or 1)

    def source(self, stage: str) -> str:
        entries = self.datasets[stage] or {}
        names = [name for name, entry in entries.items() if entry is not None]
        return f"datasets.{stage}" if "_target_" in entries or len(names) != 1 else f"datasets.{stage}.{names[0]}"

    def _real_batch(self, examples: dict[str, Example | None]) -> dict[str, Any]:
        real = self.first_batch(self.stage)
        source = self.source(self.stage)
        processed = (self.cfg.dataloader[self.stage].collate_fn or {}).get("batch_processors") or {}
        for name, value in merged(examples, self.builder).items():
            found = real.get(name)
            if name in processed or not isinstance(value, Tensor) or not isinstance(found, Tensor):
                continue
            if found.shape[1:] != value.shape:
                self.builder.findings.mismatch(
                    source,
                    f"{source}.example_spec says {tuple(value.shape)} for {name!r}; the data has {tuple(found.shape[1:])}.",
                )
        self.guards.origins |= dict.fromkeys(real, source)
        return without_values(real, self.guards.step)

    def first_batch(self, stage: str) -> dict[str, Any]:
        loaders = OmegaConf.merge(self.cfg.dataloader, {stage: {"num_workers": 0, "pin_memory": False}})
        data = ConfiguredData(self.cfg.datasets, loaders, self.cfg.seed or 0)  # pyright: ignore[reportArgumentType]
        return next(iter(getattr(data, f"{stage}_dataloader")()))


def plain(node: Any, key: str) -> Any:
    """A part of the configuration as plain dictionaries and lists, resolved."""
    if not OmegaConf.is_config(node):
        return node
    try:
        return OmegaConf.to_container(node, resolve=True)
    except Exception as error:
        raise UsageError(f"{key}: {str(error).partition(chr(10))[0]}") from error


def _models(task: TrainingTask) -> list[MultimodalEncoder]:
    return [module for module in task.modules() if isinstance(module, MultimodalEncoder)]


def embedded_by(task: TrainingTask) -> list[str]:
    """Modalities that the task embeds."""
    return [*(name for model in _models(task) for name in model.modalities), *getattr(task, "embedded_modalities", ())]


def read_by(task: TrainingTask) -> dict[str, str]:
    """Modalities that the task reads, with the key of the component that reads each."""
    encoders = {name: f"task.encoders.{model.module_keys[name].encoder}" for model in _models(task) for name in model.modalities}
    return encoders | getattr(task, "modules_reading", dict)()
