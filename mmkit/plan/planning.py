"""A plan: what an experiment would build and need, and what in it does not fit together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from mmkit.constants import EXAMPLE_IDS_KEY
from mmkit.datasets.core import Example, Modalities
from mmkit.errors import UsageError
from mmkit.plan.batch_planning import BatchPlanner, embedded_by, plain, read_by
from mmkit.plan.batches import IDS, merged, parsed_shape
from mmkit.plan.building import Builder, Missing
from mmkit.plan.evaluation import check_evaluation, stages_of
from mmkit.plan.examples import ExampleReader
from mmkit.plan.findings import Findings, Mismatch
from mmkit.plan.guards import Guards
from mmkit.plan.live_memory import LiveMemory
from mmkit.plan.precision import dtype_of, is_known
from mmkit.plan.relations import mend_relations
from mmkit.plan.step import Memory, PlannedStep, StepCost, trainable_share
from mmkit.plan.symbolic import Stepping
from mmkit.tasks.base import TrainingTask


@dataclass(frozen=True)
class Row:
    """One component of the task.

    Attributes:
        key: Its configuration key.
        trainable: Number of its trainable parameters.
        parameters: Number of all its parameters.
        output: Shape of its output in the planned step; None if it took no part.
        flops: Floating-point operations of its forward pass.
    """

    key: str
    trainable: int
    parameters: int
    output: tuple[int, ...] | None = None
    flops: int = 0


@dataclass
class Plan:
    """What :func:`make_plan` found out.

    Attributes:
        rows: The components of the task, in the order of the configuration.
        total: All parameters of the task.
        batch: Type and shape of every entry of the batch.
        memory: Bytes that one rank needs.
        flops: Floating-point operations of one optimizer step of one rank; None if the step cannot be followed.
        mismatches: What would make the run fail.
        unknowns: What could not be found out, and how to help.
        assumptions: What was taken for granted.
    """

    rows: list[Row] = field(default_factory=list)
    total: Row = field(default_factory=lambda: Row("total", 0, 0))
    batch: dict[str, str] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)
    flops: int | None = None
    mismatches: list[Mismatch] = field(default_factory=list)
    unknowns: list[str] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain dictionaries, lists and numbers, for JSON."""
        return asdict(self) | {"memory": {**asdict(self.memory), "peak": self.memory.peak}}


def make_plan(cfg: DictConfig, shapes: Sequence[str] = (), with_data: bool = False) -> Plan:
    """Build the task of an experiment without weights, and push a batch without values through it.

    Args:
        cfg: A configuration composed on ``MMKitConf``, whose interpolations resolve. It is only read.
        shapes: What entries of the batch look like, as ``rgb=3x224x224``, in place of what the data sets say.
        with_data: Build the data sets, and plan with their first batch.

    Raises:
        UsageError: A shape is written in another way, shapes and data are both given, or an interpolation of the
            configuration does not resolve.
    """
    if shapes and with_data:
        raise UsageError("--shape and --data both say what a batch looks like. Give one of them.")
    return _Planning(cfg, shapes, with_data).plan()


class _Planning:
    def __init__(self, cfg: DictConfig, shapes: Sequence[str], with_data: bool) -> None:
        self.cfg, self.with_data = cfg, with_data
        self.shapes = {key: (shape, dtype) for key, shape, dtype in map(parsed_shape, shapes)}
        self.findings, self.live = Findings(), LiveMemory()
        self.builder = Builder(self.findings)
        self.reader = ExampleReader(self.builder, Guards(self.builder, Stepping()))
        self.guards = Guards(self.builder, Stepping(self.live.add))
        self.train = cfg.job_type == "train"
        self.stage = "train" if self.train else "test" if cfg.datasets.test else "val"
        self.datasets = plain(cfg.datasets, "datasets")

    def plan(self) -> Plan:
        config = plain(self.cfg.task, "task")
        self._note_missing(config, "task")
        self._note_missing(self.datasets, "datasets")
        self._check_monitor(config)
        with self.builder.active():
            task = self.builder.build(mend_relations(config, self.findings, self.train), "task")
            examples = self.reader.of_split(self.datasets[self.stage], f"datasets.{self.stage}")
            if not isinstance(task, TrainingTask):
                self._refuse(task)
                return self._result(None, None, {})
            self._adopt(task)
            self.planner = BatchPlanner(self.cfg, self.stage, task, self.builder, self.guards, self.reader.origins, self.shapes)
            batch = self.planner.batch(examples, self.with_data)
            cost = self._cost(task, batch)
            self._check_evaluations(task, batch)
        return self._result(task, cost, batch)

    def _refuse(self, task: Any) -> None:
        if not isinstance(task, Missing):
            self.findings.mismatch("task", f"task is a {type(task).__name__}; it must extend mmkit.tasks.base.TrainingTask.")

    def _note_missing(self, node: Any, key: str) -> None:
        for name in _missing(node, key):
            self.findings.mismatch(name, f"{name} has no value yet (???). Type {name}=VALUE.")

    def _check_monitor(self, config: dict[str, Any]) -> None:
        """A metric that is monitored must be one that the evaluation tasks log."""
        for key in ("checkpoint_callback_params", "early_stopping_callback_params"):
            monitor = self.cfg.exp_manager[key].monitor
            stage, _, rest = (monitor or "").partition("/")
            used = key.startswith("checkpoint") or self.cfg.exp_manager.create_early_stopping_callback
            if not monitor or not used or stage != "val":
                continue
            where = f"exp_manager.{key}.monitor"
            known = [name for name, spec in (config.get("evaluation_tasks") or {}).items() if spec]
            if not self.datasets["val"]:
                self.findings.mismatch(where, f"{where}={monitor}, but datasets.val is empty: nothing is logged as val/….")
            elif "/" in rest and rest.partition("/")[0] not in known:
                listed = ", ".join(known) or "none"
                self.findings.mismatch(where, f"{where}={monitor} is no metric of task.evaluation_tasks (there are: {listed}).")

    def _adopt(self, task: TrainingTask) -> None:
        dtype = dtype_of(self.cfg.trainer.precision)
        if not is_known(self.cfg.trainer.precision):
            self.findings.assume(f"trainer.precision={self.cfg.trainer.precision} is planned as 32-true.")
        if dtype is not None:
            task.to(dtype)
        for module in (task, *self._held(task)):
            self.guards.step.adopt(module)
        self.guards.reading = {key: name for name, key in read_by(task).items()}
        self.guards.watch(task, "task")

    def _held(self, task: TrainingTask) -> list[nn.Module]:
        """Modules that objects of the task keep beside it, such as the text encoder of a tokenizer."""
        inside = {id(module) for module in task.modules()}
        kept = [part for key, part in self.builder.objects.items() if key.startswith("task.") and isinstance(part, nn.Module)]
        return [part for part in kept if id(part) not in inside and next(part.parameters(), None) is not None]

    # The step

    def _cost(self, task: TrainingTask, batch: dict[str, Any]) -> StepCost:
        trainer = self.cfg.trainer
        step = PlannedStep(task, self.guards, self.live, trainer.precision, trainer.accumulate_grad_batches)
        step.memory.parameters += step.bytes_of_parts(self._held(task))
        if self.with_data:
            self.planner.note_lacking(
                [name for name in read_by(task) if name not in batch], Example(batch), self.planner.source(self.stage)
            )
        if not any(name in batch for name in read_by(task)) and read_by(task):
            return StepCost(step.memory)
        cost = step.train(batch) if self.train else step.evaluate(batch)
        if self._averages() and self.train:
            trainable = [parameter for parameter in task.parameters() if parameter.requires_grad]
            cost.memory.average = sum(p.numel() * max(p.element_size(), 4) for p in trainable)
        return cost

    def _averages(self) -> bool:
        callbacks = self.cfg.trainer.callbacks or {}
        targets = [str(entry.get("_target_")) for entry in callbacks.values() if entry] if isinstance(callbacks, Mapping) else []
        return self.cfg.exp_manager.ema.enable or any(target.endswith(".ExponentialMovingAverage") for target in targets)

    def _check_evaluations(self, task: TrainingTask, batch: dict[str, Any]) -> None:
        stages = [
            stage for stage in ("val", "test") if self.datasets[stage] and (stage != "test" or not self.train or self._tests())
        ]
        for name, spec in task._evaluation_specs.items():
            for stage in stages_of(spec, stages):
                entries = self._entries(task, stage)
                if entries is not None:
                    check_evaluation(name, spec, task, entries, self.planner.source(stage), self.findings)

    def _tests(self) -> bool:
        return self.cfg.test_after_fit

    def _entries(self, task: TrainingTask, stage: str) -> dict[str, Any] | None:
        """What a batch of a stage holds for evaluation tasks; None if that is not known."""
        if self.with_data:
            keys = list(self.planner.first_batch(stage))
        else:
            examples = self.reader.of_split(self.datasets[stage], f"datasets.{stage}")
            if not examples or any(example is None for example in examples.values()):
                return None
            keys = [*merged(examples, self.builder), *IDS]
        embeddings = [Modalities.get_modality(name).embedding for name in embedded_by(task) if name in keys]
        entries: dict[str, Any] = dict.fromkeys([*keys, *embeddings], torch.zeros(2, 2))
        return entries | {EXAMPLE_IDS_KEY: dict.fromkeys(keys, torch.zeros(2, 2, dtype=torch.long))}

    # The result

    def _result(self, task: TrainingTask | None, cost: StepCost | None, batch: dict[str, Any]) -> Plan:
        found = self.findings
        plan = Plan(mismatches=found.mismatches, unknowns=found.unknowns, assumptions=found.assumptions)
        if task is not None and cost is not None:
            plan.rows, plan.total = list(self._rows(task)), Row("total", *trainable_share(task))
            plan.memory, plan.flops = cost.memory, cost.flops
            if found.mismatches:  # what does not fit was made to fit: the sums mean nothing
                plan.memory.activations = plan.flops = None
            plan.batch = {name: _described(value) for name, value in batch.items() if name not in IDS}
        return plan

    def _rows(self, task: TrainingTask) -> Iterator[Row]:
        inside = {id(module) for module in task.modules()} | {id(module) for module in self._held(task)}
        for key, part in self.builder.objects.items():
            if isinstance(part, nn.Module) and id(part) in inside and key.startswith("task."):
                seen = self.guards.seen.get(key)
                share = trainable_share(part)
                if seen is not None or share[1]:
                    yield Row(key, *share, seen.output if seen else None, seen.flops if seen else 0)
        own = list(task.parameters(recurse=False))
        if own:
            yield Row("task", sum(p.numel() for p in own if p.requires_grad), sum(p.numel() for p in own))


def _missing(node: Any, key: str) -> Iterator[str]:
    if node == "???":
        yield key
    for name, value in node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ():
        yield from _missing(value, f"{key}.{name}")


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
    return f"{type(value).__name__} of {len(value)}" if hasattr(value, "__len__") else type(value).__name__
