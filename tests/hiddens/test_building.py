"""Hidden transformations and losses from their configuration, and every mistake in one."""

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from mmkit.conf import external_store
from mmkit.hiddens import HiddensPipeline, get_hiddens_module, register_hidden_transform
from tests.hiddens.parts import Scale, given


DOCUMENTED = {
    "enc_output_name": "z",
    "transform": {"q_z_given_x": {"cls_name": "cond_gaussian", "hidden_size": 2}},
    "loss": {"mim": {"cls_name": "a_mim", "loss_weight": 1.0}},
}


@pytest.mark.parametrize("form", ["dict", "list", "omegaconf"])
def test_the_documented_configuration_builds_a_mim(form):
    config = DOCUMENTED
    if form == "list":
        config = {**DOCUMENTED, "transform": [DOCUMENTED["transform"]], "loss": [DOCUMENTED["loss"]]}
    if form == "omegaconf":
        config = OmegaConf.create(DOCUMENTED)
    pipeline = get_hiddens_module(config)
    assert [type(each).__name__ for each in (*pipeline.transforms.values(), *pipeline.losses.values())] == [
        "CondGaussian",
        "AMIMLoss",
    ]
    outputs = pipeline.apply_hidden_transforms(given() | {"hiddens": torch.randn(2, 3, 2)})
    assert outputs["enc_output"] is outputs["q_z_given_x.z"]
    terms = pipeline.apply_loss_transforms(outputs)
    assert terms["loss"] == terms["mim_loss"]


def test_a_configuration_is_only_read():
    config = {"transform": [{"q": {"cls_name": "cond_gaussian", "hidden_size": 2, "inputs": {"hiddens": "hiddens"}}}]}
    before = OmegaConf.to_yaml(OmegaConf.create(config))
    get_hiddens_module(config)
    assert OmegaConf.to_yaml(OmegaConf.create(config)) == before


def test_a_target_and_a_cls_name_stand_for_the_same():
    target = {"_target_": "mmkit.hiddens.transforms.cond_gaussian.CondGaussian", "hidden_size": 2, "latent_size": 3}
    named = {"cls_name": "cond_gaussian", "hidden_size": 2, "latent_size": 3}
    built = [HiddensPipeline({"q": spec}).transforms["q"] for spec in (target, named)]
    assert str(built[0]) == str(built[1])


def test_arguments_are_converted_as_in_a_defaults_list():
    part = HiddensPipeline({"q": {"cls_name": "cond_gaussian", "hidden_size": "2"}}).transforms["q"]
    assert part.latent_size == 2


def test_a_preset_sets_arguments_that_a_configuration_can_change(clean_store):
    external_store(Scale, group="hiddens/transform", name="tenfold", factor=10.0)
    parts = {"a": {"cls_name": "tenfold"}, "b": {"cls_name": "tenfold", "factor": 2.0}}
    pipeline = HiddensPipeline(parts, enc_output_name="a.z")
    assert [pipeline.transforms[name].factor for name in "ab"] == [10.0, 2.0]


class Taking(Scale):
    """Takes another module."""

    def __init__(self, inner: nn.Module | None = None):
        super().__init__()
        self.inner = inner


def test_modules_can_be_arguments(clean_store):
    register_hidden_transform("taking", Taking)
    inner = nn.Linear(2, 2)
    assert HiddensPipeline({"q": {"cls_name": "taking", "inner": inner}}).transforms["q"].inner is inner
