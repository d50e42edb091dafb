"""The fixtures of ``conftest.py`` do what other tests rely on; these tests run in the order of the file."""

import pytest
from hydra.core.config_store import ConfigStore

from mmkit.conf import external_store
from mmkit.datasets.core import Modalities


def component(size: int = 1) -> int:
    return size


def test_a_test_may_register_a_modality_and_a_default_property():
    Modalities.register_modality("dna")
    Modalities.add_default_property("caption", "{}_caption")


def test_the_next_test_sees_neither():
    assert not Modalities.has_modality("dna")
    assert not hasattr(Modalities.RGB, "caption")


@pytest.mark.usefixtures("clean_store")
def test_a_test_may_register_components_and_configs():
    external_store(component, group="dataloader/sampler", name="of_this_test")
    ConfigStore.instance().store(name="of_this_test", node={"a": 1})
    assert "of_this_test.yaml" in ConfigStore.instance().list("dataloader/sampler")


@pytest.mark.usefixtures("clean_store")
def test_the_next_test_sees_no_component_but_those_of_the_package():
    assert ("dataloader/sampler", "of_this_test") not in external_store
    names = ConfigStore.instance().list("dataloader/sampler")
    assert "of_this_test.yaml" not in names
    assert "CombinedDatasetRatioSampler.yaml" in names
    assert "of_this_test.yaml" not in ConfigStore.instance().list("")
