import copy
import pickle

import pytest

from mmkit.datasets.core import Modalities, Modality, ModalityRegistry


def test_the_documented_names_hold():
    assert str(Modalities.RGB) == "rgb"
    assert Modalities.RGB.name == "rgb"
    assert Modalities.RGB.target == "rgb_target"
    assert Modalities.TEXT.mask == "text_mask"
    assert Modalities.TEXT.attention_mask == "text_attention_mask"
    assert Modalities.RGB.embedding == "rgb_embedding"
    assert Modalities.RGB.masked_embedding == "rgb_masked_embedding"
    assert Modalities.RGB.ema_embedding == "rgb_ema_embedding"


def test_six_modalities_are_there_from_the_start():
    assert Modalities.list_modalities()[:6] == ["rgb", "depth", "thermal", "text", "audio", "video"]


@pytest.mark.parametrize("spelling", ["rgb", "RGB", "Rgb"])
def test_a_modality_is_found_in_any_case(spelling: str):
    assert getattr(Modalities, spelling) == Modalities.get_modality(spelling) == "rgb"
    assert Modalities.has_modality(spelling)


def test_a_modality_is_a_key():
    assert {"rgb": 1}[Modalities.RGB] == 1
    assert f"{Modalities.RGB}-{Modalities.TEXT}" == "rgb-text"


def test_there_is_one_registry():
    assert ModalityRegistry() is Modalities
    assert pickle.loads(pickle.dumps(Modalities)) is Modalities
    assert copy.deepcopy(Modalities) is Modalities


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["copy", "deep", "pickle"]
)
def test_a_copied_modality_keeps_its_properties(duplicate):
    modality = duplicate(Modality("dna", {"strand": "{}_strand"}))
    assert modality == "dna"
    assert modality.properties == Modality("dna", {"strand": "{}_strand"}).properties
    assert modality.strand == "dna_strand"


def test_a_registered_modality_has_the_usual_properties_and_its_own():
    modality = Modalities.register_modality("DNA", {"strand": "{}_strand"})
    assert Modalities.DNA is modality
    assert (modality.name, modality.target, modality.strand) == ("dna", "dna_target", "dna_strand")
    assert not hasattr(Modalities.RGB, "strand")
    assert "dna" in list(Modalities)
    assert "DNA" in dir(Modalities)


def test_a_default_property_reaches_present_and_later_modalities_and_keeps_their_own():
    Modalities.register_modality("dna", {"strand": "{}_strand"})
    Modalities.add_default_property("caption", "caption_of_{}")
    Modalities.register_modality("rna")
    assert (Modalities.RGB.caption, Modalities.DNA.caption, Modalities.RNA.caption) == (
        "caption_of_rgb",
        "caption_of_dna",
        "caption_of_rna",
    )
    assert Modalities.DNA.strand == "dna_strand"


def test_a_modality_may_name_a_default_property_its_own_way():
    Modalities.register_modality("dna", {"target": "{}_label"})
    Modalities.add_default_property("caption", "{}_caption")
    assert Modalities.DNA.target == "dna_label"


def test_all_keys_are_names_and_properties():
    Modalities.register_modality("dna", {"strand": "{}_strand"})
    assert {"rgb", "rgb_target", "text_attention_mask", "dna", "dna_strand"} <= Modalities.keys_of_all()
    assert "strand" not in Modalities.keys_of_all()


def test_overwriting_warns_and_overwrites():
    with pytest.warns(UserWarning, match="Modality 'rgb' is registered already; overwriting it"):
        Modalities.register_modality("RGB", {"boxes": "{}_boxes"})
    assert Modalities.RGB.boxes == "rgb_boxes"
    with pytest.warns(UserWarning, match="Property 'target' exists already; overwriting it"):
        Modalities.add_default_property("target", "{}_label")
    assert Modalities.TEXT.target == "text_label"


def test_an_unknown_modality_is_answered_with_all_that_exist_and_a_suggestion():
    Modalities.register_modality("dna")
    text = r"Unknown modality 'TXT'\. Known: rgb, depth, thermal, text, audio, video.*, dna\. Did you mean 'text'\? Add it with "
    with pytest.raises(AttributeError, match=text + r"Modalities\.register_modality\('txt'\)"):
        _ = Modalities.TXT
    with pytest.raises(ValueError, match=text):
        Modalities.get_modality("TXT")


def test_an_unknown_property_is_answered_with_all_that_exist_and_a_suggestion():
    text = (
        r"'rgb' has no property 'trget'\. It has: target, .*Did you mean 'target'\?.*add_default_property\('trget', '{}_trget'\)"
    )
    with pytest.raises(AttributeError, match=text):
        _ = Modalities.RGB.trget


def test_a_modality_cannot_be_changed():
    with pytest.raises(AttributeError, match=r"never changes.*add_default_property\('target'"):
        Modalities.RGB.target = "label"


@pytest.mark.parametrize("name", ["audio-visual", "", "3d"])
def test_a_name_must_be_an_identifier(name: str):
    with pytest.raises(ValueError, match=f"must be an identifier such as 'dna' or 'audio_2', got {name!r}"):
        Modalities.register_modality(name)


def test_a_name_that_the_registry_uses_is_refused():
    with pytest.raises(ValueError, match=r"cannot be called 'get_modality': Modalities.get_modality has another meaning"):
        Modalities.register_modality("Get_Modality")


@pytest.mark.parametrize("pattern", ["caption", "{}{}", ""])
def test_a_format_string_needs_one_place_for_the_name(pattern: str):
    with pytest.raises(ValueError, match=r"format string of property 'caption' must hold '{}' once"):
        Modalities.add_default_property("caption", pattern)
    with pytest.raises(ValueError, match="format string of property 'caption'"):
        Modalities.register_modality("dna", {"caption": pattern})


@pytest.mark.parametrize("prop", ["name", "a b"])
def test_a_property_needs_a_name_of_its_own(prop: str):
    with pytest.raises(ValueError, match=f"property's name must be an identifier other than 'name', got {prop!r}"):
        Modalities.add_default_property(prop, "{}_x")
