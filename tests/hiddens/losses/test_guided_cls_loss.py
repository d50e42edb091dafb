import pytest
import torch

from mmkit.hiddens import HiddensPipeline
from mmkit.hiddens.losses import GuidedClsLoss


LOGITS = {"label_logits": torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 0.5], [0.3, 0.2, 0.1]])}


def test_it_is_the_mean_negative_log_probability_of_known_classes():
    terms = GuidedClsLoss()(LOGITS, {"label": torch.tensor([0, -100, 2])})
    log_probs = torch.log_softmax(LOGITS["label_logits"].double(), 1)
    torch.testing.assert_close(terms["loss"].double(), -(log_probs[0, 0] + log_probs[2, 2]) / 2, rtol=1e-6, atol=0)
    assert terms["accuracy"] == 0.5


def test_a_batch_without_known_classes_has_no_loss():
    terms = GuidedClsLoss()(LOGITS, {"label": torch.full((3,), -100)})
    assert terms["loss"] == 0
    assert terms["accuracy"] == 0


def test_a_batch_without_the_attribute_says_what_it_has():
    with pytest.raises(ValueError, match=r"finds no 'ring' in the batch, which has text, label"):
        GuidedClsLoss(attribute="ring")({"ring_logits": torch.zeros(2, 2)}, {"text": None, "label": None})


def test_labels_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2,\).*each of 3 rows"):
        GuidedClsLoss()(LOGITS, {"label": torch.zeros(2)})


def test_a_head_learns_an_attribute_from_the_latents():
    pipeline = HiddensPipeline(
        transform={
            "q": {"cls_name": "cond_gaussian", "hidden_size": 4, "latent_size": 2},
            "ring": {
                "cls_name": "guided_cls",
                "hidden_size": 2,
                "num_classes": 2,
                "attribute": "ring",
                "inputs": {"hiddens": "z"},
            },
        },
        loss={"ring": {"cls_name": "guided_cls_loss", "attribute": "ring"}},
        enc_output_name="z",
    )
    torch.manual_seed(0)
    rings = torch.tensor([0, 1]).repeat(16)
    hiddens = torch.randn(32, 3, 4) + 2.0 * rings.view(-1, 1, 1)
    optimizer = torch.optim.Adam(pipeline.parameters(), lr=0.05)
    for _ in range(60):
        terms = pipeline.apply_loss_transforms(pipeline.apply_hidden_transforms({"hiddens": hiddens}), {"ring": rings})
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
    assert terms["ring_accuracy"] > 0.9
