"""How a pipeline applies its parts: order, weights, terms, steps."""

import copy

import pytest
import torch
from torch import nn

from mmkit.hiddens import BaseHiddenLoss, BaseHiddenTransform, HiddensError, HiddensPipeline, get_hiddens_module
from tests.hiddens.parts import Length, Pool, Scale, given


class Squares(BaseHiddenLoss):
    """Mean square of the hidden states, and the batch's ``offset`` besides."""

    input_names = ("hiddens",)

    def forward(self, inputs, batch_data=None):
        return {"loss": inputs["hiddens"].square().mean() + (batch_data or {}).get("offset", 0)}


class Latent(Scale):
    latent_size = 5


class Decoding(Length):
    """Contains the reconstruction."""

    includes_tokens = True


WARMUP = {"schedule": "linear_warmup", "value": 1.0, "warmup_steps": 4}


def losses(pipeline, **batch_data):
    return pipeline.apply_loss_transforms(pipeline.apply_hidden_transforms(given()), batch_data)


def test_the_loss_is_the_weighted_sum_of_the_hidden_losses():
    squares = given()["hiddens"].square().mean()
    found = losses(HiddensPipeline({"q": Scale(2.0)}, {"a": Squares(0.5), "b": Length(-3.0), "c": Squares(0.0)}))
    assert found == {
        "loss": 0.5 * squares - 3 * 2.5,
        "a_loss": squares,
        "b_loss": 2.5,
        "b_mean": 2 * given()["hiddens"].mean(),
        "c_loss": squares,
    }
    assert all(value.dim() == 0 for value in found.values())


def test_a_pipeline_without_losses_has_the_loss_zero():
    assert losses(HiddensPipeline()) == {"loss": 0.0}


def test_the_joint_loss_honours_the_weight_of_the_tokens():
    for weight in (0.0, 0.25, 1.0):
        pipeline = HiddensPipeline(loss={"a": Squares(2.0)}, tokens_loss_weight=weight)
        terms = losses(pipeline)
        assert pipeline.joint_loss(torch.tensor(10.0), terms) == weight * 10 + 2 * given()["hiddens"].square().mean()


def test_transformations_and_losses_get_what_the_model_knows():
    class Told(BaseHiddenTransform):
        output_names = ("told",)

        def forward(self, inputs, batch_data=None):
            return {"told": inputs["hiddens"] + batch_data["offset"]}

    pipeline = HiddensPipeline({"t": Told()}, {"a": Squares()}, enc_output_name="told")
    outputs = pipeline.apply_hidden_transforms(given(), {"offset": 7.0})
    torch.testing.assert_close(outputs["enc_output"], given()["hiddens"] + 7)
    found = pipeline.apply_loss_transforms(outputs, {"offset": 100.0})
    assert found["loss"] == given()["hiddens"].square().mean() + 100


def test_parts_get_exactly_their_inputs():
    class Strict(Squares):
        def forward(self, inputs, batch_data=None):
            assert set(inputs) == {"hiddens"}
            return super().forward(inputs, batch_data)

    assert losses(HiddensPipeline({"q": Scale()}, {"a": Strict()}))["loss"] == given()["hiddens"].square().mean()


def test_a_list_of_dicts_fixes_the_order():
    parts = [{"pool": Pool()}, {"q": Scale(3.0, inputs={"hiddens": "pooled"})}]
    assert list(HiddensPipeline(parts, enc_output_name="z").transforms) == ["pool", "q"]
    with pytest.raises(ValueError, match="which pool makes later"):
        HiddensPipeline(parts[::-1], enc_output_name="z")


def test_parts_set_to_none_are_left_out():
    pipeline = HiddensPipeline({"q": Scale(), "p": None}, {"a": None})
    assert (list(pipeline.transforms), list(pipeline.losses)) == (["q"], [])


# Weights by the step


def test_a_scheduled_weight_is_that_of_the_step_and_logged():
    squares = given()["hiddens"].square().mean()
    pipeline = HiddensPipeline(loss={"a": Squares(WARMUP), "b": Squares(2.0)})
    for step, weight in ((0, 0.0), (1, 0.25), (4, 1.0), (2, 0.5)):
        pipeline.global_step = step
        found = losses(pipeline)
        assert pipeline.global_step == step
        assert found["loss"] == weight * squares + 2 * squares
        assert (found["a_weight"], found["a_loss"], "b_weight" in found) == (weight, squares, False)


def test_the_next_step_changes_nothing_of_the_last_one():
    pipeline = HiddensPipeline(loss={"a": Squares(WARMUP)})
    pipeline.global_step = 2
    inputs = {"hiddens": torch.ones(1, 1, 1, requires_grad=True)}
    found = pipeline.apply_loss_transforms(pipeline.apply_hidden_transforms(inputs))
    pipeline.global_step = 4
    found["loss"].backward()
    assert found["a_weight"] == 0.5
    assert inputs["hiddens"].grad.item() == 1.0  # 0.5 · d x²/dx


def test_weights_are_no_part_of_the_state_and_move_with_the_module():
    pipeline = HiddensPipeline(loss={"a": Squares(WARMUP)})
    assert pipeline.state_dict() == {}
    assert pipeline.to("meta").losses["a"].weight().device.type == "meta"


def test_a_compiled_step_is_not_compiled_again_for_another_weight():
    graphs = []

    def counting(graph, inputs):
        graphs.append(graph)
        return graph.forward

    pipeline = HiddensPipeline({"q": Scale(2.0)}, {"a": Squares(WARMUP), "b": Length(0.5)}, enc_output_name="z")
    compiled = torch.compile(
        lambda inputs: pipeline.apply_loss_transforms(pipeline.apply_hidden_transforms(inputs)), backend=counting
    )
    totals = []
    for step in range(4):
        pipeline.global_step = step
        totals.append(compiled(given())["loss"].item())
    assert totals == pytest.approx([step / 4 * given()["hiddens"].square().mean().item() + 0.5 * 2.5 for step in range(4)])
    assert len(graphs) == 1
    torch.compiler.reset()


# The module


def test_parameters_are_under_the_names_of_the_instances():
    class Linear(Scale):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)

    pipeline = HiddensPipeline({"q_z_given_x": Linear()})
    assert set(pipeline.state_dict()) == {"transforms.q_z_given_x.linear.weight", "transforms.q_z_given_x.linear.bias"}
    copied = copy.deepcopy(pipeline)
    nn.init.zeros_(copied.transforms["q_z_given_x"].linear.weight)
    assert pipeline.transforms["q_z_given_x"].linear.weight.abs().sum() > 0
    copied.load_state_dict(pipeline.state_dict())
    torch.testing.assert_close(copied.state_dict(), pipeline.state_dict())


def test_a_pipeline_shows_what_reads_and_makes_what():
    pipeline = HiddensPipeline({"q": Scale(inputs={"hiddens": "hiddens"})}, {"l": Length(0.5)}, enc_output_name="z")
    assert str(pipeline).splitlines() == [
        "HiddensPipeline(",
        "  enc_output_name=q.z, tokens_loss_weight=1",
        "  (transforms): ModuleDict(",
        "    (q): Scale(hiddens -> z, size, hiddens=hiddens)",
        "  )",
        "  (losses): ModuleDict(",
        "    (l): Length(z, z_mask -> loss, mean, loss_weight=0.5)",
        "  )",
        ")",
    ]


def test_get_hiddens_module_takes_nothing_a_configuration_and_a_pipeline():
    assert get_hiddens_module(None).enc_output_name == "hiddens"
    assert get_hiddens_module({}).tokens_loss_weight == 1.0
    pipeline = get_hiddens_module({"transform": {"q": Scale()}, "enc_output_name": "z"})
    assert pipeline.enc_output_name == "q.z"
    assert get_hiddens_module(pipeline) is pipeline


def test_what_is_available_can_be_said_by_the_model_and_by_the_configuration():
    reads = {"transform": {"q": Scale(inputs={"hiddens": "rgb.hiddens"})}}
    assert get_hiddens_module(reads, available=["rgb.hiddens"]).names.given == ("hiddens", "hiddens_mask", "rgb.hiddens")
    pipeline = get_hiddens_module({**reads, "available": ["rgb.hiddens"]})
    assert get_hiddens_module(pipeline, available=["rgb.hiddens", "text.hiddens"]) is pipeline
    with pytest.raises(ValueError, match=r"need rgb\.hiddens, which the model does not give\. It gives: .*text\.hiddens"):
        get_hiddens_module(pipeline, available=["text.hiddens"])


# Drawing from the prior


def test_the_prior_has_the_positions_of_the_latent_variable():
    assert HiddensPipeline({"q": Latent()}, enc_output_name="z").prior_shape(7) == (7, 5)
    pooled = HiddensPipeline({"p": Pool(), "q": Latent(inputs={"hiddens": "pooled"})}, enc_output_name="q.z")
    assert pooled.prior_shape() == pooled.prior_shape(1) == (1, 5)
    with pytest.raises(
        ValueError, match=r"num_positions=3: hiddens\.enc_output_name=q\.z always has 1\. Leave num_positions out\."
    ):
        pooled.prior_shape(3)


def test_what_has_no_prior_says_so():
    with pytest.raises(ValueError, match=r"enc_output_name=hiddens has no prior to draw from.* Those of: q\."):
        HiddensPipeline({"q": Latent()}).prior_shape(3)
    with pytest.raises(ValueError, match=r"as many positions as the encoder's output\. Say how many to draw: num_positions\."):
        HiddensPipeline({"q": Latent()}, enc_output_name="z").prior_shape()


# Mistakes


class NoLoss(Length):
    term_names = ("mean",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"loss": {"l": NoLoss()}}, "hiddens.loss.l (NoLoss) makes no term 'loss'; its term_names are: mean.", id="no-loss"
        ),
        pytest.param(
            {"loss": {"l": Decoding()}},
            "hiddens.tokens_loss_weight=1 would count the reconstruction twice, because hiddens.loss.l "
            "(Decoding) contains it. Set hiddens.tokens_loss_weight=0.",
            id="tokens-twice",
        ),
        pytest.param(
            {"tokens_loss_weight": "much"}, "hiddens.tokens_loss_weight='much': it is a finite number.", id="tokens-weight"
        ),
    ],
)
def test_mistakes_are_found_when_the_pipeline_is_built(arguments, message):
    arguments = {"transform": {"q": Scale()}, **arguments}
    with pytest.raises(HiddensError) as caught:
        HiddensPipeline(**arguments)
    assert message in str(caught.value)


def test_a_loss_with_the_tokens_inside_stands_alone():
    assert HiddensPipeline({"q": Scale()}, {"l": Decoding()}, tokens_loss_weight=0).tokens_loss_weight == 0


def test_a_loss_with_the_tokens_inside_decodes_what_the_decoder_reads():
    def build(enc_output, reads):
        parts = {"a": Latent(), "b": Latent()}, {"l": Decoding(inputs={"z": reads})}
        return HiddensPipeline(*parts, enc_output_name=enc_output, tokens_loss_weight=0)

    assert build("a.z", "a.z").enc_output_name == "a.z"
    for enc_output in ("b.z", "hiddens"):
        with pytest.raises(HiddensError) as caught:
            build(enc_output, "a.z")
        assert str(caught.value) == (
            "hiddens.loss.l (Decoding) decodes draws of what a.z describes, but the decoder reads "
            f"hiddens.enc_output_name={enc_output}. Both must be of one transformation: change enc_output_name, or z in "
            "hiddens.loss.l.inputs."
        )


def test_a_latent_variable_that_the_decoder_does_not_read_is_told(caplog):
    HiddensPipeline({"q": Latent()}, enc_output_name="z")
    HiddensPipeline({"q": Latent(), "p": Scale(inputs={"hiddens": "q.z"})}, enc_output_name="p.z")
    assert caplog.messages == []
    HiddensPipeline({"q": Latent()})
    assert caplog.messages == [
        "hiddens.enc_output_name=hiddens: the decoder does not read q.z. If it should: hiddens.enc_output_name=q.z"
    ]


def test_a_part_gathers_its_inputs_from_all_outputs():
    loss = Length(inputs={"z": "b.z"})
    pipeline = HiddensPipeline({"a": Scale(), "b": Scale(2.0)}, {"l": loss}, enc_output_name="a.z")
    outputs = pipeline.apply_hidden_transforms(given())
    assert loss.gather(outputs)["z"] is outputs["b.z"]
    assert loss.gather(outputs)["z_mask"] is outputs["hiddens_mask"]
    alone = Length().gather({"z": outputs["b.z"]})
    assert alone["z"] is outputs["b.z"]
    assert alone["z_mask"].tolist() == [[True] * 3] * 2


def test_two_losses_never_log_under_one_name():
    class Odd(Length):
        term_names = ("loss", "mean_loss")

    with pytest.raises(
        ValueError, match=r"hiddens\.loss\.l_mean and hiddens\.loss\.l both log l_mean_loss\. Rename one of them\."
    ):
        HiddensPipeline({"q": Scale()}, {"l": Odd(), "l_mean": Length()})


def returning(base, value):
    class Returns(base):
        def forward(self, inputs, batch_data=None):
            return value

    return Returns()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        pytest.param(
            ({"q": returning(Scale, {"z": torch.ones(2, 3, 2)})}, {}),
            "hiddens.transform.q returned z. It must return a dict of exactly its output_names: z, size.",
            id="output",
        ),
        pytest.param(
            ({"q": returning(Scale, torch.ones(2))}, {}),
            "q returned a Tensor. It must return a dict",
            id="tensor",
        ),
        pytest.param(
            ({"q": Scale()}, {"l": returning(Length, {"loss": torch.tensor(0.0)})}),
            "hiddens.loss.l returned loss. It must return a dict of exactly its term_names: loss, mean.",
            id="term",
        ),
        pytest.param(
            ({"q": Scale()}, {"l": returning(Squares, {"loss": torch.ones(2)})}),
            "hiddens.loss.l returned a loss of shape (2,); it must be a scalar, averaged over the batch.",
            id="shape",
        ),
    ],
)
def test_what_a_part_returns_is_held_against_what_it_says(parts, message):
    pipeline = HiddensPipeline(*parts)
    with pytest.raises(HiddensError) as caught:
        losses(pipeline)
    assert message in str(caught.value)
