"""Every mistake in a configuration of hiddens, and what is said of it."""

import pytest
from torch import nn

from mmkit.conf import external_store
from mmkit.hiddens import BaseHiddenLoss, BaseHiddenTransform, HiddensPipeline, get_hiddens_module
from tests.hiddens.parts import Scale


class Abstract(BaseHiddenTransform):
    output_names = ("z",)


class Fussy(Scale):
    def __init__(self, factor: float = 1.0):
        raise ValueError(f"factor={factor}: too fussy.")


class NoTransform(nn.Module): ...


GOOD = {"cls_name": "cond_gaussian", "hidden_size": 4}


@pytest.mark.parametrize(
    ("config", "kind", "message"),
    [
        pytest.param(
            {"transform": {"q": {"hidden_size": 4}}},
            KeyError,
            "hiddens.transform.q has no cls_name, the name of a registered hidden transform; it has: hidden_size.",
            id="no-cls_name",
        ),
        pytest.param(
            {"loss": {"l": {"clsname": "a_mim"}}},
            KeyError,
            "hiddens.loss.l has no cls_name, the name of a registered hidden "
            "loss; it has: clsname. Is that 'clsname' meant to be it?",
            id="no-cls_name-but-alike",
        ),
        pytest.param(
            {"transform": {"q": {"cls_name": "cond_gausian"}}},
            KeyError,
            "hiddens.transform.q.cls_name='cond_gausian' is no "
            "registered hidden transform. Did you mean 'cond_gaussian'? Registered: abstract, cond_gaussian, ",
            id="unknown-cls_name",
        ),
        pytest.param(
            {"loss": {"l": {"cls_name": "mine"}}},
            KeyError,
            "Register a class of your own with @external_store(group=\"hiddens/loss\", name='mine').",
            id="how-to-register",
        ),
        pytest.param(
            {"loss": {"l": {"cls_name": None}}}, KeyError, "hiddens.loss.l.cls_name=None is no registered", id="empty-cls_name"
        ),
        pytest.param(
            {"transform": {"q": {"cls_name": "a_mim"}}},
            KeyError,
            "hiddens.transform.q.cls_name='a_mim' is a hidden loss. Write it under hiddens.loss.",
            id="the-other-kind",
        ),
        pytest.param(
            {"transform": {"q": {"cls_name": "cond_gaussian"}}},
            TypeError,
            "hiddens.transform.q (cond_gaussian): missing a "
            "required argument: 'hidden_size'. It takes: hidden_size, latent_size,",
            id="missing-argument",
        ),
        pytest.param(
            {"transform": {"q": {**GOOD, "latent_siz": 3}}},
            TypeError,
            "hiddens.transform.q (cond_gaussian): it takes no 'latent_siz'. Did you mean 'latent_size'? It takes: hidden_size,",
            id="unknown-argument",
        ),
        pytest.param(
            {"transform": {"q": {**GOOD, "hidden_size": "few"}}},
            TypeError,
            "hiddens.transform.q.hidden_size='few': Value 'few' of type 'str' could not be converted to Integer",
            id="argument-of-another-type",
        ),
        pytest.param(
            {"transform": {"q": {"cls_name": "abstract"}}},
            TypeError,
            "hiddens.transform.q (abstract): Abstract is abstract; it must define forward.",
            id="abstract",
        ),
        pytest.param(
            {"transform": {"q": {"cls_name": "fussy"}}},
            ValueError,
            "hiddens.transform.q (fussy): factor=1.0: too fussy.",
            id="the-constructor-objects",
        ),
        pytest.param(
            {"loss": {"l": {"cls_name": "a_mim", "loss_weight": {"schedule": "linear"}}}},
            KeyError,
            "hiddens.loss.l (a_mim): loss_weight: schedule='linear' is unknown. Did you mean 'linear_warmup'?",
            id="schedule",
        ),
        pytest.param(
            {"transform": {"cls_name": "cond_gaussian"}},
            TypeError,
            "hiddens.transform.cls_name is 'cond_gaussian'; it must be "
            "a dict with cls_name, or extend mmkit.hiddens.BaseHiddenTransform. A transform has a name of its own: "
            "hiddens.transform.NAME.cls_name=",
            id="no-name",
        ),
        pytest.param(
            {"transform": {"q": nn.Linear(1, 1)}}, TypeError, "hiddens.transform.q is a Linear; it must be", id="other-module"
        ),
        pytest.param(
            {"loss": {"l": Scale()}},
            TypeError,
            "hiddens.loss.l is a Scale; it must be a dict with cls_name, or extend mmkit.hiddens.BaseHiddenLoss.",
            id="module-of-the-other-kind",
        ),
        pytest.param(
            {"transform": {"q": {"cls_name": "other"}}}, TypeError, "hiddens.transform.q is a NoTransform", id="other-class"
        ),
        pytest.param(
            {"transform": "cond_gaussian"},
            TypeError,
            "hiddens.transform='cond_gaussian': it is a dict of transforms by name, or a list of such dicts.",
            id="text",
        ),
        pytest.param(
            {"loss": ["a_mim"]}, TypeError, "hiddens.loss=['a_mim']: it is a dict of losses by name, or a list", id="list-of-text"
        ),
        pytest.param(
            {"transform": [{"q": GOOD}, {"q": GOOD}]},
            ValueError,
            "hiddens.transform.q stands there twice. Give one of them another name.",
            id="twice",
        ),
        pytest.param(
            {"transform": {"q.z": GOOD}},
            ValueError,
            "hiddens.transform: 'q.z' cannot be the name of a transform (only letters, "
            "digits and _ are possible). Choose another one.",
            id="dotted-name",
        ),
        pytest.param(
            {"loss": {"values": {"cls_name": "a_mim"}}},
            ValueError,
            "hiddens.loss: 'values' cannot be the name of a loss (torch's ModuleDict uses it).",
            id="name-of-a-method",
        ),
        pytest.param(
            {"enc_outptu_name": "z"},
            TypeError,
            "hiddens.enc_outptu_name is no setting. Did you mean 'enc_output_name'? There "
            "are: transform, loss, enc_output_name, tokens_loss_weight, available.",
            id="unknown-setting",
        ),
    ],
)
def test_mistakes_are_told(clean_store, config, kind, message):
    for name, cls in {"abstract": Abstract, "fussy": Fussy, "other": NoTransform}.items():
        external_store(cls, group="hiddens/transform", name=name)
    with pytest.raises(kind) as caught:
        get_hiddens_module(config)
    assert message in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_a_configuration_that_is_no_dict_is_refused():
    with pytest.raises(TypeError, match=r"hiddens='a_mim': it is a dict with transform, loss, enc_output_name, .*; or null\."):
        get_hiddens_module("a_mim")


class Broken(BaseHiddenLoss):
    def __init__(self, loss_weight: float = 1.0):
        raise RuntimeError("broken")

    def forward(self, inputs, batch_data=None): ...


def test_an_error_that_is_no_mistake_of_the_user_keeps_its_type(clean_store):
    external_store(Broken, group="hiddens/loss", name="broken")
    with pytest.raises(RuntimeError, match="broken"):
        HiddensPipeline(loss={"l": {"cls_name": "broken"}})
