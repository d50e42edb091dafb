"""Values and names that no type refuses, and what is said of them."""

import pytest
import torch

from mmkit.hiddens import HiddensError, HiddensPipeline, get_hiddens_module
from mmkit.hiddens.losses import VAELoss
from tests.hiddens.parts import Length, Scale, given


GOOD = {"cls_name": "cond_gaussian", "hidden_size": 4}
TARGET = "mmkit.hiddens.transforms.CondGaussian"


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ({**GOOD, "latent_size": -3}, "(cond_gaussian): latent_size=-3 must be an integer of at least 1."),
        ({**GOOD, "latent_size": 0}, "(cond_gaussian): latent_size=0 must be an integer of at least 1."),
        ({**GOOD, "hidden_size": 0}, "(cond_gaussian): hidden_size=0 must be an integer of at least 1."),
        ({**GOOD, "inputs": "z"}, "(cond_gaussian): inputs='z': inputs is a dict, own input name -> name in the pipeline."),
        ({**GOOD, "_target_": TARGET}, f" has both _target_='{TARGET}' and cls_name='cond_gaussian'. Keep one of them."),
        ({"_target_": TARGET}, f"({TARGET}): missing a required argument: 'hidden_size'. It takes: hidden_size, latent_size,"),
        ({"_target_": TARGET, "hidden_size": 4, "latent_siz": 2}, f"({TARGET}): it takes no 'latent_siz'. Did you mean"),
        ({"_target_": TARGET, "hidden_size": 0}, f"({TARGET}): hidden_size=0 must be an integer of at least 1."),
        ({"_target_": TARGET + "s"}, f"._target_='{TARGET}s' cannot be imported: "),
    ],
)
def test_of_a_transformation(transform, message):
    with pytest.raises(HiddensError) as caught:
        HiddensPipeline({"q": transform})
    found = str(caught.value)
    assert found.startswith("hiddens.transform.q")
    assert message in found


def test_a_target_with_the_right_arguments_is_built():
    pipeline = HiddensPipeline({"q": {"_target_": TARGET, "hidden_size": 4, "latent_size": 2}}, enc_output_name="z")
    assert pipeline.prior_shape(3) == (3, 2)


@pytest.mark.parametrize("value", ["a", [1.0], True, float("nan")])
def test_free_bits_are_a_number(value):
    with pytest.raises(HiddensError, match=r"min_kl_value=.*: it is a finite number, or null for no free bits"):
        VAELoss(min_kl_value=value)


def test_a_schedule_is_named_by_a_text():
    with pytest.raises(HiddensError, match=r"hiddens.loss.l \(a_mim\): loss_weight: schedule=\['a'\] is unknown"):
        HiddensPipeline({"q": GOOD}, {"l": {"cls_name": "a_mim", "loss_weight": {"schedule": ["a"]}}})


@pytest.mark.parametrize("kind", ["transform", "loss"])
def test_attributes_of_torchs_containers_are_no_names(kind):
    with pytest.raises(HiddensError, match=f"'training' cannot be the name of a {kind} .torch's ModuleDict uses it"):
        HiddensPipeline(**{kind: {"training": GOOD}})


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("output_names", "zed", r'hiddens.transform.q \(Scale\): output_names=.zed. must be \("zed",\), with a comma'),
        ("output_names", ("z", ""), r"output_names=\('z', ''\) must be a tuple of names"),
        ("output_names", ("a.z", "size"), r"q \(Scale\) makes 'a.z': a dot is for 'q.a.z', the full name. Leave it out"),
        ("input_names", "hiddens", r'hiddens.transform.q: input_names=.hiddens. must be \("hiddens",\), with a comma'),
    ],
)
def test_names_of_a_class(attribute, value, message):
    part = Scale()
    setattr(part, attribute, value)
    with pytest.raises(HiddensError, match=message):
        HiddensPipeline({"q": part})


def test_terms_of_a_class():
    loss = Length()
    loss.term_names = "loss"  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(HiddensError, match=r'hiddens.loss.l \(Length\): term_names=.loss. must be \("loss",\), with a comma'):
        HiddensPipeline({"q": Scale()}, {"l": loss})


def test_a_dotted_output_does_not_take_anothers_place():
    dotted = Scale()
    dotted.output_names = ("r.z",)
    with pytest.raises(HiddensError, match="a dot is for"):
        HiddensPipeline({"r": Scale(), "q": dotted}, enc_output_name="r.z")


@pytest.mark.parametrize("config", [[], 0, "", False])
def test_only_null_is_none(config):
    with pytest.raises(HiddensError, match=r"it is a dict with transform, .*; or null"):
        get_hiddens_module(config)


@pytest.mark.parametrize("shape", [(2, 4), (2, 3, 1), (1, 3), (3,)])
def test_a_mask_has_the_shape_of_the_positions(shape):
    inputs = {**given(), "hiddens_mask": torch.ones(shape)}
    with pytest.raises(HiddensError, match=r"hiddens_mask has the shape .*, but hiddens \(2, 3, 2\).*of shape \(2, 3\)"):
        HiddensPipeline().apply_hidden_transforms(inputs)
