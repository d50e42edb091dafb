"""Mistakes as users make them: what was typed, what was written, and what is to be told first.

``first`` is a correct experiment of ``my_project``. A case that changes files has a copy of it, ``study``, in which ``old`` is
replaced by ``new`` once; it is what runs unless ``typed`` names an experiment itself.
"""

from dataclasses import dataclass


PARTS = """
import torch
from torch import nn

from mmkit.conf import external_store


@external_store(group="datasets")
class Vectors(torch.utils.data.Dataset):
    def __init__(self, size: int = 24):
        self.size = size


@external_store(group="modules/encoders")
class Linear(nn.Module):
    def __init__(self, modality: str, width: int = 4):
        super().__init__()
"""

EXPERIMENT = """# @package _global_
defaults:
- /datasets@datasets.train.vectors: Vectors
- /datasets@datasets.val.vectors: Vectors
- /modules/encoders@task.encoders.text: Linear
- /modules/encoders@task.encoders.rgb: Linear
- /modules/losses@task.loss: ContrastiveLoss
- /modules/optimizers@task.optimizer: AdamW
- override /task: ContrastivePretraining
- _self_

experiment_name: first
seed: 1
dataloader:
  train: {batch_size: 8, shuffle: true, pin_memory: false}
  val: {batch_size: 8, pin_memory: false}
task:
  encoders: {text: {modality: text}, rgb: {modality: rgb}}
  heads:
    rgb:
      norm:
        _target_: torch.nn.LayerNorm
        normalized_shape: 4
      drop: {_target_: torch.nn.Dropout, p: 0.1}
      mlp: {_target_: mmkit.modules.layers.MLP, in_dim: 4, out_dim: 4}
  optimizer: {lr: 0.05}
trainer:
  accelerator: cpu
  max_epochs: 2
"""


@dataclass(frozen=True)
class Case:
    """A mistake.

    Attributes:
        name: What it is.
        code: The code of the first mistake that is told.
        suggestion: What it suggests; empty if nothing can be known.
        typed: Arguments, besides the experiment.
        old: Text of the experiment that is replaced.
        new: What stands there instead.
    """

    name: str
    code: str
    suggestion: str
    typed: tuple[str, ...] = ()
    old: str = ""
    new: str = ""


def typed(name: str, code: str, suggestion: str, *arguments: str) -> Case:
    """A mistake on the command line, besides ``experiment=first``."""
    return Case(name, code, suggestion, ("experiment=first", *arguments))


def alone(name: str, code: str, suggestion: str, *arguments: str) -> Case:
    """A mistake on the command line, which is all that was typed."""
    return Case(name, code, suggestion, arguments)


def written(name: str, code: str, suggestion: str, old: str, new: str) -> Case:
    """A mistake in the experiment's file."""
    return Case(name, code, suggestion, ("experiment=study",), old, new)


_FLAGS = [
    typed("flag", "MM101", "--multirun", "--multrun"),
    typed("flag-with-value", "MM101", "--cfg", "--cfgg", "job"),
    typed("flag-for-a-key", "MM101", "seed=3", "--seed=3"),
    typed("flag-for-a-deep-key", "MM101", "trainer.max_epochs=3", "--trainer.max_epochs=3"),
    typed("flag-nothing-like-it", "MM101", "", "--zzzzzz"),
    typed("value-of-a-flag", "MM101", "--cfg job", "--cfg", "jobb"),
    typed("flag-with-one-dash", "MM101", "--package", "-package"),
    typed("bundle-with-no-flag", "MM101", "", "-mz"),
    typed("flag-without-value", "MM101", "", "--config-dir"),
]
_SYNTAX = [
    alone("experiment-without-key", "MM102", "+experiment=first", "first"),
    alone("misspelt-experiment-without-key", "MM102", "+experiment=first", "frist"),
    alone("colon-for-equals", "MM102", "experiment=first", "experiment:first"),
    typed("two-equals", "MM102", "trainer.max_epochs=3", "trainer.max_epochs==3"),
    typed("no-value", "MM102", "seed=VALUE", "seed"),
    typed("open-bracket", "MM102", "'tags=[a,b]'", "tags=[a,b"),
    typed("open-brace", "MM102", "'+trainer.profiler={a:1}'", "+trainer.profiler={a:1"),
    typed("equals-in-value", "MM102", "'exp_manager.name=\"a=b\"'", "exp_manager.name=a=b"),
    typed("list-with-a-space", "MM103", "'tags=[a, b]'", "tags=[a,", "b]"),
    typed("list-with-two-spaces", "MM103", "'tags=[a, b, c]'", "tags=[a,", "b,", "c]"),
    typed("dict-with-a-space", "MM103", "'+trainer.profiler={a: 1}'", "+trainer.profiler={a:", "1}"),
    typed("name-with-a-space", "MM103", "'exp_manager.name=my run'", "exp_manager.name=my", "run"),
    typed("spaces-around-equals", "MM103", "trainer.max_epochs=3", "trainer.max_epochs", "=", "3"),
    typed("space-behind-equals", "MM103", "trainer.max_epochs=3", "trainer.max_epochs=", "3"),
    typed("several-values", "MM104", "--multirun seed=1,2", "seed=1,2"),
    typed("range", "MM104", "--multirun 'seed=range(1,3)'", "seed=range(1,3)"),
    typed("dollar-that-the-shell-took", "MM301", "", "trainer.max_epochs=.max_steps"),
    typed("empty-value", "MM301", "", "trainer.max_epochs="),
]
_EXPERIMENTS = [
    typed("several-values-of-hydra", "MM108", "hydra.verbose=True", "-m", "hydra.verbose=true,false"),
    typed("several-launchers", "MM108", "hydra/launcher=basic", "hydra/launcher=basic,joblib"),
    alone("no-experiment", "MM105", "+experiment=NAME", "seed=3"),
    alone("experiment", "MM106", "+experiment=first", "+experiment=frist"),
    alone("experiment-without-plus", "MM106", "+experiment=first", "experiment=firts"),
    alone("experiment-in-another-case", "MM106", "+experiment=first", "experiment=First"),
    alone("experiment-with-a-dash", "MM106", "+experiment=emoji_clip", "experiment=emoji-clip"),
    alone("experiment-as-a-file", "MM106", "+experiment=first", "experiment=first.yaml"),
    alone("experiment-unlike-any", "MM106", "", "experiment=qqqqqq"),
    alone("misspelt-experiment-key", "MM105", "+experiment=first", "experimnt=first"),
    alone("experiment-of-a-sweep", "MM106", "+experiment=first,emoji_clip", "-m", "experiment=first,emoji_clpi"),
    typed(
        "search-path-package",
        "MM107",
        "'hydra.searchpath=[pkg://my_project.configs]'",
        "hydra.searchpath=[pkg://my_projct.configs]",
    ),
    typed("search-path-folder", "MM107", "", "hydra.searchpath=[file:///no/such/folder]"),
    typed("search-path-as-text", "MM107", "'hydra.searchpath=[pkg://qq]'", "hydra.searchpath=pkg://qq"),
    typed("search-path-scheme", "MM107", "'hydra.searchpath=[file://my_project]'", "hydra.searchpath=[dir://my_project]"),
    typed("config-dir", "MM107", "--config-dir my_project", "--config-dir", "my_projct"),
]
_OPTIONS = [
    typed("option", "MM201", "task=ContrastivePretraining", "task=ContrastivePretrainng"),
    typed("option-in-another-case", "MM201", "task=ContrastivePretraining", "task=contrastivepretraining"),
    typed("beginning-of-an-option", "MM201", "task=ContrastivePretraining", "task=Contrastive"),
    typed("option-with-package", "MM201", "modules/losses@task.loss=ContrastiveLoss", "modules/losses@task.loss=ContrastivLoss"),
    typed(
        "option-in-small-letters", "MM201", "modules/optimizers@task.optimizer=AdamW", "modules/optimizers@task.optimizer=adamw"
    ),
    typed(
        "option-of-the-project", "MM201", "modules/encoders@task.encoders.rgb=Linear", "modules/encoders@task.encoders.rgb=Linera"
    ),
    typed("option-of-shipped-configs", "MM201", "+trainer=bf16", "+trainer=bf61"),
    typed("option-of-hydra", "MM201", "hydra/job_logging=disabled", "hydra/job_logging=disabeld"),
    typed("group", "MM202", "modules/optimizers@task.optimizer=SGD", "modules/optimizer@task.optimizer=SGD"),
    typed(
        "group-and-plus",
        "MM202",
        "+trainer/callbacks@trainer.callbacks.ema=ExponentialMovingAverage",
        "+trainer/callback@trainer.callbacks.ema=ExponentialMovingAverage",
    ),
    typed("group-without-package", "MM206", "modules/losses@task.loss=ContrastiveLoss", "modules/losses=ContrastiveLoss"),
    typed("package", "MM206", "modules/losses@task.loss=ContrastiveLoss", "modules/losses@task.los=ContrastiveLoss"),
    typed("group-that-is-added", "MM206", "+trainer=bf16", "trainer=bf16"),
    typed("group-to-delete", "MM206", "~modules/losses@task.loss", "~modules/losses@task.los"),
    typed("plus-for-a-chosen-group", "MM204", "modules/optimizers@task.optimizer=SGD", "+modules/optimizers@task.optimizer=SGD"),
    typed("two-pluses-for-a-group", "MM204", "task=ContrastivePretraining", "++task=ContrastivePretraining"),
    typed("component-by-its-key", "MM301", "modules/losses@task.loss=ContrastiveLoss", "task.loss=ContrastiveLoss"),
    typed("component-by-its-name", "MM203", "modules/optimizers@task.optimizer=SGD", "optimizer=SGD"),
    typed("component-by-its-group", "MM203", "modules/losses@task.loss=ContrastiveLoss", "loss=ContrastivLoss"),
]
_KEYS = [
    typed("key", "MM203", "trainer.max_epochs=3", "trainer.max_epoch=3"),
    typed("first-part-of-a-key", "MM203", "trainer.max_epochs=3", "trainr.max_epochs=3"),
    typed("key-in-another-case", "MM203", "trainer.max_epochs=3", "Trainer.max_epochs=3"),
    typed("middle-of-a-key", "MM203", "task.optimizer.lr=0.1", "task.optimzer.lr=0.1"),
    typed("two-parts-of-a-key", "MM203", "task.optimizer.lr=0.1", "tsk.optimzer.lr=0.1"),
    typed("end-of-a-key", "MM203", "task.optimizer.lr=0.1", "lr=0.1"),
    typed("two-last-parts-of-a-key", "MM203", "task.optimizer.lr=0.1", "optimizer.lr=0.1"),
    typed("key-of-the-trainer", "MM203", "trainer.max_epochs=3", "max_epochs=3"),
    typed("key-of-a-loader", "MM203", "dataloader.train.batch_size=4", "batch_size=4"),
    typed("split-left-out", "MM203", "dataloader.train.batch_size=4", "dataloader.batch_size=4"),
    typed("plural", "MM203", "seed=3", "seeds=3"),
    typed("singular", "MM203", "task.encoders.rgb.width=8", "task.encoder.rgb.width=8"),
    typed("dash-in-a-key", "MM203", "trainer.max_epochs=3", "trainer.max-epochs=3"),
    typed("folder", "MM203", "exp_manager.exp_dir=x", "exp_manager.exp_dri=x"),
    typed("split", "MM203", "dataloader.train.batch_size=4", "dataloader.trian.batch_size=4"),
    typed("argument-of-a-component", "MM203", "task.encoders.rgb.width=8", "task.encoders.rgb.widht=8"),
    typed("value-to-delete", "MM203", "~task.heads.rgb.mlp.in_dim", "~task.heads.rgb.mlp.in_dim=5"),
    typed("key-to-delete", "MM203", "~trainer.max_epochs", "~trainer.max_epoch"),
    typed("key-unlike-any", "MM203", "", "trainer.qqqqqq=3"),
    typed("key-of-hydra", "MM203", "hydra.sweep.dir=x", "hydra.sweep.dri=x"),
    typed("plus-for-a-key", "MM204", "seed=3", "+seed=3"),
    typed("plus-for-a-deep-key", "MM204", "trainer.max_epochs=3", "+trainer.max_epochs=3"),
    typed(
        "plus-missing-for-a-dict",
        "MM204",
        "+exp_manager.wandb_logger_kwargs.entity=me",
        "exp_manager.wandb_logger_kwargs.entity=me",
    ),
    typed("plus-missing-for-an-argument", "MM204", "+task.heads.rgb.norm.eps=0.1", "task.heads.rgb.norm.eps=0.1"),
    typed("key-that-does-nothing", "MM404", "trainer.max_steps=3", "+trainer.max_step=3"),
    typed("argument-that-does-not-exist", "MM404", "", "+trainer.qqqqqq=3"),
    typed("argument-added", "MM404", "task.encoders.rgb.width=8", "+task.encoders.rgb.widht=8"),
    typed("key-beside-the-manager", "MM205", "exp_manager.resume_if_exists=true", "+exp_manager.resume_if_exist=true"),
    typed("key-at-the-top", "MM205", "trainer.max_epochs=3", "+max_epochs=3"),
    typed("key-between-splits", "MM205", "dataloader.train.batch_size=4", "+dataloader.batch_size=4"),
    typed("component-that-is-not-there", "MM205", "datasets.train.vectors.size=4", "+datasets.train.vector.size=4"),
]
_VALUES = [
    typed("text-for-an-integer", "MM301", "", "trainer.max_epochs=abc"),
    typed("text-for-a-number-or-tensor", "MM301", "", "task.optimizer.lr=fast"),
    written("text-for-a-number-or-tensor-in-a-file", "MM301", "", "{lr: 0.05}", "{lr: quick}"),
    typed("exponent-for-an-integer", "MM301", "trainer.max_epochs=1000", "trainer.max_epochs=1e3"),
    typed("fraction-for-an-integer", "MM301", "trainer.max_epochs=2", "trainer.max_epochs=1.5"),
    typed("none", "MM301", "seed=null", "seed=None"),
    typed("boolean", "MM301", "exp_manager.resume_if_exists=true", "exp_manager.resume_if_exists=ture"),
    typed("null-where-it-is-not-allowed", "MM301", "", "trainer.max_steps=null"),
    typed("text-for-a-list", "MM301", "tags=[a]", "tags=a"),
    typed("list-for-an-integer", "MM301", "", "trainer.num_nodes=[1]"),
    typed("comma-for-a-point", "MM301", "trainer.gradient_clip_val=0.5", "trainer.gradient_clip_val='0,5'"),
    typed("argument-of-the-wrong-type", "MM301", "", "task.encoders.rgb.width=wide"),
    typed("value-for-a-group-of-keys", "MM301", "", "exp_manager=outputs"),
    typed("job-type", "MM305", "job_type=eval", "job_type=evil"),
    typed("job-type-in-full", "MM305", "job_type=train", "job_type=training"),
    typed("missing-value", "MM302", "task.encoders.rgb.modality=VALUE", "task.encoders.rgb.modality=???"),
    typed("reference-typed", "MM303", "'seed=${trainer.max_epochs}'", "seed=${trainer.max_epoch}"),
    typed("variable-typed", "MM304", "${oc.env:MMKIT_NO_SUCH,DEFAULT}", "exp_manager.exp_dir=${oc.env:MMKIT_NO_SUCH}"),
    typed(
        "target-typed", "MM401", "task.heads.rgb.norm._target_=torch.nn.RMSNorm", "task.heads.rgb.norm._target_=torch.nn.RSMNorm"
    ),
    typed("one-bad-job", "MM301", "", "-m", "seed=1,2,x"),
    typed(
        "one-bad-option-in-a-sweep",
        "MM201",
        "modules/optimizers@task.optimizer=SGD",
        "-m",
        "modules/optimizers@task.optimizer=AdamW,SDG",
    ),
]
_OPTIMIZER = "  optimizer: {lr: 0.05}\n"
_FILES = [
    written("written-key", "MM203", "optimizer", "  optimizer: {lr", "  optimzer: {lr"),
    written("written-key-at-the-top", "MM203", "seed", "seed: 1", "sede: 1"),
    written("written-key-of-the-trainer", "MM203", "max_epochs", "max_epochs: 2", "max_epoch: 2"),
    written("written-key-in-another-case", "MM203", "trainer", "trainer:\n", "Trainer:\n"),
    written("written-in-the-wrong-place", "MM203", "trainer.max_epochs", "seed: 1", "max_epochs: 1"),
    written("written-argument", "MM203", "modality", "rgb: {modality: rgb}", "rgb: {modalty: rgb}"),
    written("written-text-for-an-integer", "MM301", "", "max_epochs: 2", "max_epochs: two"),
    written("written-fraction-for-an-integer", "MM301", "max_epochs: 2", "max_epochs: 2", "max_epochs: 2.2"),
    written("value-left-out", "MM302", "task.encoders.rgb.modality=VALUE", "rgb: {modality: rgb}", "rgb: {width: 4}"),
    written("name-left-out", "MM302", "experiment_name=VALUE", "experiment_name: first\n", ""),
    written("reference", "MM303", "${trainer.max_epochs}", "seed: 1", "seed: ${trainer.max_epoch}"),
    written("reference-that-ends", "MM303", "", "seed: 1", "seed: ${trainer.max_epochs"),
    written("resolver", "MM303", "${oc.env:HOME}", "experiment_name: first", "experiment_name: ${env:HOME}"),
    written("resolver-misspelt", "MM303", "${oc.env:HOME}", "experiment_name: first", "experiment_name: ${oc.evn:HOME}"),
    written(
        "variable",
        "MM304",
        "${oc.env:MMKIT_NO_SUCH,DEFAULT}",
        "experiment_name: first",
        "experiment_name: ${oc.env:MMKIT_NO_SUCH}",
    ),
    written("variable-misspelt", "MM304", "${oc.env:HOME}", "experiment_name: first", "experiment_name: ${oc.env:HOEM}"),
    written("written-job-type", "MM305", "job_type: eval", "seed: 1", "job_type: Eval"),
    written(
        "written-option",
        "MM201",
        "- /modules/losses@task.loss: ContrastiveLoss",
        "task.loss: ContrastiveLoss",
        "task.loss: ContrastivLoss",
    ),
    written("written-option-case", "MM201", "- /modules/optimizers@task.optimizer: AdamW", "AdamW", "Adamw"),
    written("written-group", "MM202", "- /modules/losses@task.loss: ContrastiveLoss", "- /modules/losses@", "- /modules/loses@"),
    written(
        "written-override", "MM201", "- override /task: ContrastivePretraining", "ContrastivePretraining", "ContrastivePretraning"
    ),
    written(
        "override-of-nothing",
        "MM206",
        "- override /modules/losses@task.loss: ContrastiveLoss",
        "- _self_",
        "- override /modules/losses@task.los: ContrastiveLoss\n- _self_",
    ),
    written("override-left-out", "MM505", "- override /task: ContrastivePretraining", "- override /task", "- /task"),
    written("named-twice", "MM505", "", "- override /task", "- /datasets@datasets.val.vectors: Vectors\n- override /task"),
    written(
        "override-too-early",
        "MM503",
        "- override /task: ContrastivePretraining",
        "defaults:\n",
        "defaults:\n- override /task: ContrastivePretraining\n",
    ),
    written(
        "item-of-two-keys",
        "MM505",
        "- /group@package: Option",
        "- /modules/losses@task.loss: ContrastiveLoss",
        "- {/modules/losses@task.loss: ContrastiveLoss, a: b}",
    ),
    written("item-that-is-a-number", "MM505", "- /group@package: Option", "- _self_\n", "- _self_\n- 3\n"),
    written("header", "MM504", "# @package _global_", "# @package _global_\n", ""),
    written("header-too-late", "MM504", "# @package _global_", "# @package _global_\n", "# My study\n# @package _global_\n"),
    written("header-without-at", "MM504", "# @package _global_", "# @package _global_", "# package _global_"),
    written("tab", "MM502", "spaces", "  accelerator", "\taccelerator"),
    written("tab-in-front-of-a-key", "MM502", "spaces", "  max_epochs", "  \tmax_epochs"),
    written("two-colons", "MM501", 'seed: "1: 2"', "seed: 1", "seed: 1: 2"),
    written("bracket-in-yaml", "MM501", "", "seed: 1", "tags: [a, b"),
    written("quote-in-yaml", "MM501", "", "experiment_name: first", "experiment_name: 'first"),
    written("key-twice", "MM501", "", "seed: 1\n", "seed: 1\nseed: 2\n"),
    written(
        "default-without-a-place",
        "MM506",
        "",
        "task.optimizer: AdamW\n",
        "task.optimizer: AdamW\n- /modules/losses@task.optimizer.inner.loss: ContrastiveLoss\n",
    ),
    written("indentation", "MM501", "", "  accelerator: cpu\n", "   accelerator: cpu\n"),
    written("target", "MM401", "_target_: torch.nn.LayerNorm", "torch.nn.LayerNorm", "torch.nn.LayerNrom"),
    written("target-in-another-case", "MM401", "_target_: torch.nn.LayerNorm", "torch.nn.LayerNorm", "torch.nn.Layernorm"),
    written(
        "target-of-the-project",
        "MM401",
        "_target_: my_project.parts.Linear",
        "_target_: torch.nn.LayerNorm\n        normalized_shape: 4",
        "_target_: my_project.parts.Liner\n        modality: rgb",
    ),
    written("module-of-a-target", "MM402", "_target_: torch.nn.LayerNorm", "torch.nn.LayerNorm", "torch.nn.norms.LayerNorm"),
    written(
        "module-of-mmkit", "MM402", "_target_: mmkit.modules.layers.MLP", "mmkit.modules.layers.MLP", "mmkit.modules.layer.MLP"
    ),
    written("package-of-a-target", "MM403", "", "torch.nn.LayerNorm", "nosuchpackage.norms.LayerNorm"),
    written("argument", "MM404", "normalized_shape", "normalized_shape: 4", "normalised_shape: 4"),
    written("argument-of-mmkit", "MM404", "out_dim", "out_dim: 4", "out_dims: 4"),
    written("argument-unlike-any", "MM404", "", "normalized_shape: 4", "normalized_shape: 4\n        qqqqqq: 1"),
    written("argument-left-out", "MM405", "normalized_shape: VALUE", "        normalized_shape: 4\n", ""),
    written("argument-of-a-wrong-type", "MM301", "", "p: 0.1", "p: low"),
    written(
        "settings-without-component", "MM205", "vectors", "dataloader:\n", "datasets: {train: {vector: {size: 3}}}\ndataloader:\n"
    ),
]

CASES = [*_FLAGS, *_SYNTAX, *_EXPERIMENTS, *_OPTIONS, *_KEYS, *_VALUES, *_FILES]
