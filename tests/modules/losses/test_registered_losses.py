import torch
from hydra_zen import instantiate
from omegaconf import OmegaConf
from torch.nn.modules import loss as torch_losses

import mmkit.modules.losses  # noqa: F401
from mmkit.conf import external_store


def entries():
    return {name: external_store["modules/losses", name] for _, name in external_store["modules/losses"]}


def test_every_loss_of_torch_and_nothing_else_is_registered_beside_our_own():
    assert set(entries()) - set(torch_losses.__all__) == {"ContrastiveLoss", "SigmoidLoss"}
    assert set(torch_losses.__all__) <= set(entries())


def test_config_makes_the_loss_with_its_arguments():
    loss = instantiate(entries()["CrossEntropyLoss"], label_smoothing=0.1)
    assert isinstance(loss, torch.nn.CrossEntropyLoss)
    assert loss.label_smoothing == 0.1
    assert instantiate(entries()["ContrastiveLoss"], modality_alignment=True).modality_alignment


def test_required_arguments_are_marked_missing():
    assert OmegaConf.is_missing(OmegaConf.structured(entries()["LinearCrossEntropyLoss"]), "in_features")
