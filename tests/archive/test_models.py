import hashlib
import json
import os
from pathlib import Path

import pytest

import mmkit
from mmkit.archive import AvailableModel
from mmkit.errors import RefusedError, UsageError


@pytest.fixture
def archive(task, tmp_path) -> Path:
    (tmp_path / "zoo" / "sub").mkdir(parents=True)
    return task.save_to(tmp_path / "zoo" / "clip.mmkit")


@pytest.fixture
def places(monkeypatch):
    def set_places(*names):
        monkeypatch.setenv("MMKIT_MODELS", os.pathsep.join(map(str, names)))

    return set_places


@pytest.fixture(autouse=True)
def _no_places_no_network(monkeypatch):
    monkeypatch.delenv("MMKIT_MODELS", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def test_nothing_is_available_by_default():
    assert mmkit.list_available_models() == []


def test_file_is_restored_by_its_path(archive, embed):
    assert mmkit.from_pretrained(archive).state_dict().keys() == mmkit.from_pretrained(str(archive)).state_dict().keys()


def test_folder_lists_its_archives(archive, places, task):
    task.save_to(archive.parent / "sub" / "other.mmkit")
    (archive.parent / "notes.txt").touch()
    places(archive.parent)
    assert [model.name for model in mmkit.list_available_models()] == ["clip", "sub/other"]
    assert mmkit.from_pretrained("sub/other").model.modalities == ["rgb", "text"]


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_index_file_names_archives(archive, places, tmp_path, suffix):
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    index = {"small": {"path": "zoo/clip.mmkit", "description": "tiny", "sha256": digest}, "plain": str(archive)}
    (tmp_path / f"index.{suffix}").write_text(json.dumps(index))
    places(tmp_path / f"index.{suffix}")
    assert mmkit.list_available_models() == [
        AvailableModel("plain", str(archive)),
        AvailableModel("small", str(archive), "tiny", digest),
    ]
    assert mmkit.from_pretrained("small", override_config={"loss": {"l2_normalize": False}}).loss_fn.l2_normalize is False


def test_file_with_another_digest_than_the_index_states_is_refused(archive, places, tmp_path):
    (tmp_path / "index.json").write_text(json.dumps({"small": {"path": str(archive), "sha256": "0" * 64}}))
    places(tmp_path / "index.json")
    with pytest.raises(RefusedError, match="SHA-256 is not the one in the index"):
        mmkit.from_pretrained("small")


def test_first_of_several_places_wins(archive, places, tmp_path):
    (tmp_path / "index.yaml").write_text("clip: absent.mmkit\n")
    places(archive.parent, tmp_path / "index.yaml")
    assert [model.location for model in mmkit.list_available_models()] == [str(archive)]
    places(tmp_path / "index.yaml", archive.parent)
    with pytest.raises(RefusedError, match="where there is no file"):
        mmkit.from_pretrained("clip")


@pytest.mark.parametrize("text", ["- a", "a: [", "a: {description: x}", "a: {path: x, colour: red}", "a: 3"])
def test_index_that_is_not_understood_is_named(places, tmp_path, text):
    (tmp_path / "index.yaml").write_text(text)
    places(tmp_path / "index.yaml")
    with pytest.raises(UsageError, match=r"index\.yaml"):
        mmkit.list_available_models()


def test_place_that_does_not_exist_is_named(places, tmp_path):
    places(tmp_path / "absent")
    with pytest.raises(UsageError, match="neither a folder nor an index"):
        mmkit.list_available_models()


def test_unknown_name_lists_the_known(archive, places):
    places(archive.parent)
    with pytest.raises(RefusedError, match=r"'clap' is neither a file nor an available model\. Known: clip"):
        mmkit.from_pretrained("clap")


# The hub, from a cache in a folder


@pytest.fixture
def hub_cache(archive, tmp_path, monkeypatch):
    """A cache as huggingface_hub writes it, with owner/clip in it."""
    commit = "0123456789012345678901234567890123456789"
    repository = tmp_path / "hub" / "models--owner--clip"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    (repository / "snapshots" / commit).mkdir(parents=True)
    archive.rename(repository / "snapshots" / commit / "model.mmkit")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return repository / "snapshots" / commit


@pytest.mark.parametrize("name", ["owner/clip", "hf:owner/clip"])
def test_model_of_the_hub_is_restored(hub_cache, name):
    assert mmkit.from_pretrained(name).model.modalities == ["rgb", "text"]


def test_index_can_point_to_the_hub(hub_cache, places, tmp_path):
    (tmp_path / "index.json").write_text(json.dumps({"small": "hf:owner/clip"}))
    places(tmp_path / "index.json")
    assert mmkit.from_pretrained("small").model.modalities == ["rgb", "text"]


def test_repository_must_hold_one_archive(hub_cache):
    (hub_cache / "second.mmkit").touch()
    with pytest.raises(RefusedError, match="has 2 files"):
        mmkit.from_pretrained("owner/clip")


def test_hub_that_does_not_answer_is_an_error_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(RefusedError, match=r"'owner/other' is no file, and the Hugging Face hub did not give it: "):
        mmkit.from_pretrained("owner/other")


def test_hub_that_does_not_answer_is_left_out_of_the_list(archive, places, caplog):
    places(archive.parent, "hf:owner")
    assert [model.name for model in mmkit.list_available_models()] == ["clip"]
    assert "The hub's models of owner are left out" in caplog.text
