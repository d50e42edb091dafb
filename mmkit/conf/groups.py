"""Which modules fill which config group."""

from importlib import import_module


GROUP_MODULES = {
    "data": "mmkit.datasets.recipes",
    "dataloader/sampler": "mmkit.dataloader.sampler",
    "datasets": "mmkit.datasets.catalogue",  # the package itself stays light, for `mmkit data`
    "datasets/masking": "mmkit.datasets.masking",
    "datasets/tokenizers": "mmkit.datasets.tokenizers",
    "datasets/transforms": "mmkit.datasets.transforms",
    "eval_task": "mmkit.tasks",
    "hiddens/loss": "mmkit.hiddens",
    "hiddens/transform": "mmkit.hiddens",
    "models": "mmkit.models",
    "modules/decoders": "mmkit.modules.decoders",
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

#: What fills a group, too, and its own module must not import: it is of a higher layer, or registers by what that module defines.
FURTHER_MODULES = {"data": "mmkit.datasets.fashion_mnist.recipe", "modules/encoders": "mmkit.models"}


def modules_of(group: str) -> list[str]:
    """The modules that register the components of ``group``; none for a group that mmkit does not know."""
    return [modules[group] for modules in (GROUP_MODULES, FURTHER_MODULES) if group in modules]


def fill_group(group: str) -> None:
    """Import what registers the components of ``group``; unknown groups are left to other config sources."""
    for module in modules_of(group):
        import_module(module)
