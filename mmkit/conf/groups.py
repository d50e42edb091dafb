"""Which module fills which config group."""

from importlib import import_module


GROUP_MODULES = {
    "data": "mmkit.datasets.recipes",
    "dataloader/sampler": "mmkit.dataloader.sampler",
    "datasets": "mmkit.datasets.encoded",  # the package itself stays light, for `mmkit data`
    "datasets/masking": "mmkit.datasets.masking",
    "datasets/tokenizers": "mmkit.datasets.tokenizers",
    "datasets/transforms": "mmkit.datasets.transforms",
    "eval_task": "mmkit.tasks",
    "modules/encoders": "mmkit.modules.encoders",
    "modules/layers": "mmkit.modules.layers",
    "modules/losses": "mmkit.modules.losses",
    "modules/lr_schedulers": "mmkit.modules.lr_schedulers",
    "modules/metrics": "mmkit.modules.metrics",
    "modules/optimizers": "mmkit.modules.optimizers",
    "task": "mmkit.tasks",
    "trainer/callbacks": "mmkit.trainer.callbacks",
    "trainer/logger": "mmkit.trainer.logger",
}


def fill_group(group: str) -> None:
    """Import the module that registers the components of ``group``; unknown groups are left to other config sources."""
    if group in GROUP_MODULES:
        import_module(GROUP_MODULES[group])
