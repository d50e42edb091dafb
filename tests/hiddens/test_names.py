"""What the names of a pipeline stand for, and what is said of those that stand for nothing."""

from typing import ClassVar

import pytest
import torch

from mmkit.hiddens import BaseHiddenTransform, HiddensError, HiddensPipeline
from tests.hiddens.parts import Length, Pool, Scale, given


def made(outputs, name):
    return outputs[name].tolist()


def test_outputs_have_the_name_of_their_instance_and_a_short_name():
    outputs = HiddensPipeline({"q": Scale(2.0)}).apply_hidden_transforms(given())
    assert set(outputs) == {"hiddens", "hiddens_mask", "q.z", "q.size", "z", "size", "enc_output", "enc_output_mask"}
    assert made(outputs, "z") == made(outputs, "q.z") == (2 * given()["hiddens"]).tolist()


def test_two_instances_of_one_class_have_full_names_only():
    pipeline = HiddensPipeline({"a": Scale(2.0), "b": Scale(3.0)}, enc_output_name="b.z")
    outputs = pipeline.apply_hidden_transforms(given())
    assert "z" not in outputs
    torch.testing.assert_close(outputs["enc_output"], 3 * given()["hiddens"])
    torch.testing.assert_close(outputs["a.z"], 2 * given()["hiddens"])


def test_a_transformation_can_read_what_another_one_made():
    pipeline = HiddensPipeline({"a": Scale(2.0), "b": Scale(3.0, inputs={"hiddens": "a.z"})}, enc_output_name="b.z")
    torch.testing.assert_close(pipeline.apply_hidden_transforms(given())["enc_output"], 6 * given()["hiddens"])


def test_by_default_the_encoder_output_is_handed_on():
    outputs = HiddensPipeline().apply_hidden_transforms(given())
    assert outputs["enc_output"] is outputs["hiddens"]
    assert outputs["enc_output_mask"] is outputs["hiddens_mask"]


def test_without_a_mask_all_positions_are_real():
    outputs = HiddensPipeline().apply_hidden_transforms({"hiddens": torch.zeros(2, 3, 4)})
    assert made(outputs, "enc_output_mask") == [[True] * 3] * 2


def test_names_of_modalities_are_read_when_they_are_available():
    transform = Scale(2.0, inputs={"hiddens": "rgb.hiddens"})
    names = ("rgb.hiddens", "rgb.hiddens_mask")
    pipeline = HiddensPipeline({"q": transform}, enc_output_name="z", available=names)
    image = {"rgb.hiddens": torch.ones(2, 1, 2), "rgb.hiddens_mask": torch.tensor([[1], [0]])}
    outputs = pipeline.apply_hidden_transforms({**given(), **image})
    assert made(outputs, "enc_output") == [[[2.0, 2.0]]] * 2
    assert made(outputs, "enc_output_mask") == [[1], [0]]
    assert pipeline.mask_name("z") == "rgb.hiddens_mask"


# Masks


def test_the_mask_of_an_output_is_that_of_what_it_was_made_from():
    pipeline = HiddensPipeline({"q": Scale()}, {"length": Length()}, enc_output_name="z")
    outputs = pipeline.apply_hidden_transforms(given(num_positions=3, real=1))
    assert made(outputs, "enc_output_mask") == [[1, 0, 0], [1, 1, 1]]
    assert pipeline.apply_loss_transforms(outputs)["length_loss"] == 2.0  # (1 + 3) / 2 positions
    assert pipeline.mask_name("z") == "hiddens_mask"


def test_the_positions_of_a_bottleneck_are_its_own():
    parts = {"pool": Pool(), "q": Scale(inputs={"hiddens": "pool.pooled"})}
    pipeline = HiddensPipeline(parts, {"length": Length()}, enc_output_name="q.z")
    outputs = pipeline.apply_hidden_transforms(given(num_positions=3, real=1))
    assert made(outputs, "enc_output") == [[[0.0, 1.0]], [[6 + 8 + 10.0, 7 + 9 + 11.0]]]  # of the first only one is real
    assert made(outputs, "enc_output_mask") == [[True], [True]]
    assert pipeline.apply_loss_transforms(outputs)["length_loss"] == 1.0
    assert pipeline.mask_name("q.z") is None


class Thinned(BaseHiddenTransform):
    """Every second position, with a mask of its own."""

    input_names = ("hiddens", "hiddens_mask")
    output_names = ("z", "z_mask")

    def forward(self, inputs, batch_data=None):
        return {"z": inputs["hiddens"][:, ::2], "z_mask": inputs["hiddens_mask"][:, ::2]}


def test_a_mask_that_a_transformation_makes_counts():
    pipeline = HiddensPipeline({"thin": Thinned(), "q": Scale(inputs={"hiddens": "thin.z"})}, enc_output_name="q.z")
    outputs = pipeline.apply_hidden_transforms(given(num_positions=4, real=2))
    assert made(outputs, "enc_output_mask") == [[1, 0], [1, 1]]
    assert pipeline.mask_name("q.z") == pipeline.mask_name("thin.z") == "thin.z_mask"


def test_a_mask_can_be_named_by_hand():
    loss = Length(inputs={"z_mask": "q.size"})
    pipeline = HiddensPipeline({"q": Scale()}, {"length": loss})
    outputs = pipeline.apply_hidden_transforms({"hiddens": torch.ones(1, 3, 2)})
    assert pipeline.apply_loss_transforms(outputs)["length_loss"] == 6.0


def test_an_ambiguous_name_is_taken_from_what_other_inputs_name():
    class Sizes(Length):
        input_names = ("z", "size")
        term_names = ("loss",)

        def forward(self, inputs, batch_data=None):
            return {"loss": inputs["size"].sum()}

    parts = {"a": Scale(1.0), "b": Scale(2.0)}
    pipeline = HiddensPipeline(parts, {"sizes": Sizes(inputs={"z": "b.z"})}, enc_output_name="a.z")
    outputs = pipeline.apply_hidden_transforms({"hiddens": torch.ones(1, 1, 1)})
    assert pipeline.apply_loss_transforms(outputs)["sizes_loss"] == 4.0


# Mistakes


class Reserved(Scale):
    output_names = ("hiddens",)


class Twice(Scale):
    output_names = ("z", "z")


class Nothing(Scale):
    output_names = ()


class Follows(Scale):
    input_names = ("z",)


class Hinted(Length):
    input_names = ("logits",)
    input_hints: ClassVar = {"logits": "Add a transformation guided_cls."}


BOTH = {"a": Scale(), "b": Scale()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            {"transform": {"q": Scale()}, "enc_output_name": "zz"},
            "hiddens.enc_output_name='zz': nothing makes it. Did you mean 'z'? There are: hiddens, hiddens_mask, q.z, q.size.",
            id="enc-output",
        ),
        pytest.param(
            {"transform": BOTH, "enc_output_name": "z"},
            "hiddens.enc_output_name='z' could be any of a.z, b.z. Write one of these.",
            id="ambiguous-enc-output",
        ),
        pytest.param(
            {"transform": {"q": Scale(inputs={"hiddens": "hidens"})}},
            "hiddens.transform.q reads 'hidens': nothing makes it. Did you mean 'hiddens'?",
            id="input-of-a-transform",
        ),
        pytest.param(
            {"transform": {"q": Scale()}, "loss": {"l": Length(inputs={"z": "p.z"})}},
            "hiddens.loss.l reads 'p.z': nothing makes it. Did you mean 'q.z'?",
            id="input-of-a-loss",
        ),
        pytest.param(
            {"loss": {"l": Length()}},
            "hiddens.loss.l reads 'z': nothing makes it. There are: hiddens, hiddens_mask.",
            id="no-transform",
        ),
        pytest.param({"loss": {"l": Hinted()}}, "There are: hiddens, hiddens_mask. Add a transformation guided_cls.", id="hint"),
        pytest.param(
            {"transform": BOTH, "loss": {"l": Length()}},
            "hiddens.loss.l reads 'z', which could be any of a.z, b.z. Say which: inputs: {z: a.z} or inputs: {z: b.z}.",
            id="ambiguous-input",
        ),
        pytest.param(
            {"transform": {"q": Scale(inputs={"hidden": "hiddens"})}},
            "hiddens.transform.q.inputs: it reads no 'hidden'. Did you mean 'hiddens'? It reads: hiddens.",
            id="renamed-input-that-is-none",
        ),
        pytest.param(
            {"transform": {"a": Scale(inputs={"hiddens": "b.z"}), "b": Scale()}},
            "hiddens.transform.a reads 'b.z', which b "
            "makes later. Transformations run in the order in which they are written; a list of dicts fixes it.",
            id="order",
        ),
        pytest.param({"transform": {"a": Scale(inputs={"hiddens": "z"})}}, "which a makes itself", id="itself"),
        pytest.param(
            {"transform": {"q": Reserved()}},
            "hiddens.transform.q (Reserved) makes 'hiddens', a name of the pipeline itself. Rename this output.",
            id="reserved",
        ),
        pytest.param({"transform": {"q": Twice()}}, "hiddens.transform.q (Twice) makes 'z' twice.", id="twice"),
        pytest.param(
            {"transform": {"q": Nothing()}}, "hiddens.transform.q (Nothing) makes nothing: set output_names", id="nothing"
        ),
        pytest.param(
            {"transform": {"rgb": Scale()}, "available": ["rgb.z"]},
            "hiddens.transform.rgb (Scale) makes 'rgb.z', which the model gives. Rename the transformation.",
            id="collides-with-the-model",
        ),
        pytest.param(
            {"transform": {"q": Scale(), "p": Follows(inputs={"z": "q.z"})}, "enc_output_name": "p.z"},
            "hiddens.transform.p (Follows): positions_from='hiddens' is none of its inputs. Set it to one of: z;",
            id="positions",
        ),
    ],
)
def test_naming_mistakes_are_found_when_the_pipeline_is_built(arguments, message):
    with pytest.raises(HiddensError) as caught:
        HiddensPipeline(**arguments)
    assert message in str(caught.value)


def test_what_is_available_and_nobody_reads_may_lack():
    assert "enc_output" in HiddensPipeline(available=["text.hiddens"]).apply_hidden_transforms(given())


def test_what_was_promised_and_is_not_given_is_told():
    pipeline = HiddensPipeline({"q": Scale(inputs={"hiddens": "text.hiddens"})}, available=["text.hiddens"])
    with pytest.raises(ValueError, match=r"need hiddens, text\.hiddens, which the model does not give\. It gives: nothing\."):
        pipeline.apply_hidden_transforms({})
    with pytest.raises(ValueError, match="need hiddens, which the model does not give"):
        HiddensPipeline().apply_hidden_transforms({})
