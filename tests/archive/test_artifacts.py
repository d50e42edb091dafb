import copy
import gc
import multiprocessing
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from mmkit.archive import build, open_archive
from mmkit.archive.format import stored_name
from mmkit.errors import UsageError
from mmkit.tasks.base import TrainingTask
from tests.archive import parts


pytestmark = pytest.mark.usefixtures("registered_parts")
TASK = "tests.archive.parts.Task"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    (folder / "model" / "deep").mkdir(parents=True)
    (folder / "vocab.txt").write_text("a b c")
    (folder / "other.txt").write_text("d e")
    (folder / "model" / "one.txt").write_text("one")
    (folder / "model" / "deep" / "two.txt").write_text("two")
    (folder / "model" / ".hidden").write_text("x")
    return folder


def reader_of(folder):
    return {"_target_": "tests.archive.parts.FolderReader", "folder": str(folder)}


def saved(config, path):
    return build({"_target_": TASK, **config}).save_to(path)


def test_registered_file_is_in_the_archive_and_the_configuration_names_it(files, tmp_path):
    path = saved({"vocab": str(files / "vocab.txt")}, tmp_path / "a.mmkit")
    config = TrainingTask.restore_from(path, return_config=True)
    with open_archive(path) as archive:
        (reference,) = archive.manifest.artifacts
        assert archive.read(f"artifacts/{reference}") == b"a b c"
    assert reference.endswith("-vocab.txt")
    assert config.vocab == f"mmkit:{reference}"


def test_artifacts_do_not_need_the_original_and_stay_as_long_as_the_task(files, tmp_path):
    config = {
        "vocab": str(files / "vocab.txt"),
        "reader": reader_of(files / "model"),
    }
    config["tokenizer"] = {"_target_": "tests.archive.parts.WordTokenizer", "vocab_file": str(files / "other.txt")}
    path = saved(config, tmp_path / "a.mmkit")
    shutil.rmtree(files)
    task = TrainingTask.restore_from(path)
    assert task.words == ["a", "b", "c"]
    assert task.reader.texts == {"one.txt": "one", "two.txt": "two"}
    assert task.tokenizer.words == ["d", "e"]
    path.unlink()
    gc.collect()
    paths = [Path(task.vocab), Path(task.reader.path), Path(task.tokenizer.path)]
    assert [place.name for place in paths] == ["vocab.txt", "model", "other.txt"]
    assert paths[0].read_text() == "a b c"
    folder = task.artifact_folder.path
    del task
    gc.collect()
    assert not folder.exists()


def test_restored_task_is_saved_again_to_the_same_bytes_though_the_files_are_gone(files, tmp_path):
    reader = reader_of(files / "model")
    path = saved({"vocab": str(files / "vocab.txt"), "reader": reader}, tmp_path / "a.mmkit")
    before = path.read_bytes()
    shutil.rmtree(files)
    task = TrainingTask.restore_from(path)
    path.unlink()
    assert task.save_to(tmp_path / "b.mmkit").read_bytes() == before
    again = TrainingTask.restore_from(tmp_path / "b.mmkit")
    del task
    gc.collect()
    assert again.save_to(tmp_path / "c.mmkit").read_bytes() == before


def test_file_that_no_configuration_names_is_restored(files, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "EXTRA", str(files / "other.txt"))
    path = saved({}, tmp_path / "a.mmkit")
    shutil.rmtree(files)
    task = TrainingTask.restore_from(path)
    assert Path(task.extra).read_text() == "d e"
    assert task.save_to(tmp_path / "b.mmkit").read_bytes() == path.read_bytes()


def test_optional_file_that_was_missing_stays_missing(files, tmp_path, monkeypatch):
    path = saved({}, tmp_path / "a.mmkit")
    monkeypatch.setattr(parts, "EXTRA", str(files / "other.txt"))
    assert TrainingTask.restore_from(path).extra is None


def test_missing_file_is_an_error_unless_it_is_optional():
    task = parts.Task()
    assert task.register_artifact("vocab", "absent.txt", verify_src_exists=False) is None
    assert task.register_artifact("vocab", None, verify_src_exists=False) is None
    with pytest.raises(FileNotFoundError, match=r"'vocab' needs the file 'absent\.txt'"):
        task.register_artifact("vocab", "absent.txt")


def test_folder_of_an_installed_package_is_registered_by_its_name(tmp_path):
    task = parts.Task()
    assert Path(task.register_artifact("vocab", "pkg://mmkit/archive")).is_dir()


def test_same_file_given_twice_is_stored_once(files, tmp_path):
    shutil.copy(files / "vocab.txt", files / "model" / "vocab.txt")
    reader = reader_of(files / "model")
    path = saved({"vocab": str(files / "vocab.txt"), "reader": reader}, tmp_path / "a.mmkit")
    with open_archive(path) as archive:
        assert len([name for name in archive.manifest.members if name.endswith("vocab.txt")]) == 1
        assert sorted(next(a for a in archive.manifest.artifacts.values() if a.folder).files) == [
            "deep/two.txt",
            "one.txt",
            "vocab.txt",
        ]


def test_two_modules_with_different_files_from_the_configuration_are_told_apart(files, tmp_path):
    readers = [reader_of(files / name) for name in ("model", "model/deep")]
    nested = {"_target_": "torch.nn.Sequential", "_args_": readers}
    task = TrainingTask.restore_from(saved({"reader": nested}, tmp_path / "a.mmkit"))
    assert [len(reader.texts) for reader in task.reader] == [2, 1]


def test_two_modules_with_different_files_under_one_key_cannot_be_told_apart(files, tmp_path):
    task = build({"_target_": TASK, "nested": {"_target_": TASK}})
    task.register_artifact("somewhere.else", files / "vocab.txt")
    task.nested.register_artifact("somewhere.else", files / "other.txt")
    with pytest.raises(UsageError, match=r"register different artifacts as 'somewhere\.else'"):
        task.save_to(tmp_path / "a.mmkit")


def test_copies_and_pickles_of_a_task_read_the_same_files(files, tmp_path):
    task = TrainingTask.restore_from(saved({"vocab": str(files / "vocab.txt")}, tmp_path / "a.mmkit"))
    clone, folder = copy.deepcopy(task), task.artifact_folder.path
    unpickled = pickle.loads(pickle.dumps(task.artifact_folder))
    del unpickled
    del task
    gc.collect()
    assert Path(clone.vocab).exists()
    clone.save_to(tmp_path / "b.mmkit")
    del clone
    gc.collect()
    assert not folder.exists()


def _drop(task, answer):
    task.artifact_folder = None
    gc.collect()
    answer.put(True)


def test_forked_worker_does_not_remove_the_files(files, tmp_path):
    task = TrainingTask.restore_from(saved({"vocab": str(files / "vocab.txt")}, tmp_path / "a.mmkit"))
    context = multiprocessing.get_context("fork")
    answer = context.SimpleQueue()
    worker = context.Process(target=_drop, args=(task, answer))
    worker.start()
    assert answer.get()
    worker.join()
    assert Path(task.vocab).exists()


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("x.py", b"import os", "is code"),
        ("x.so", b"", "is code"),
        ("x.pkl", b"", "is a pickle"),
        ("x.txt", pickle.dumps({"a": print}), "is a pickle"),
        ("x.txt", pickle.dumps({"a": print}, 0), "is a pickle"),
        ("x|y.txt", b"", "Rename it"),
    ],
    ids=str,
)
def test_code_and_pickles_are_no_artifacts(tmp_path, name, data, reason):
    (tmp_path / name).write_bytes(data)
    task = build({"_target_": TASK})
    task.register_artifact("vocab", tmp_path / name)
    with pytest.raises(UsageError, match=reason):
        task.save_to(tmp_path / "a.mmkit")


def test_folder_is_saved_without_its_code_and_without_pickles_beside_safetensors(files, tmp_path, caplog):
    (files / "model" / "modeling.py").write_text("import os")
    (files / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(1))
    reader = reader_of(files / "model")
    with pytest.raises(UsageError, match="pickle"):
        saved({"reader": reader}, tmp_path / "a.mmkit")
    (files / "model" / "model.safetensors").write_bytes(b"x")
    with open_archive(saved({"reader": reader}, tmp_path / "a.mmkit")) as archive:
        (artifact,) = archive.manifest.artifacts.values()
    assert sorted(artifact.files) == ["deep/two.txt", "model.safetensors", "one.txt"]
    assert "modeling.py is code" in caplog.text
    shutil.rmtree(files / "model")
    (files / "model").mkdir()
    with pytest.raises(UsageError, match="not 0"):
        saved({"reader": reader}, tmp_path / "a.mmkit")


def test_artifact_deleted_before_the_first_save_is_an_error(files, tmp_path):
    task = build({"_target_": TASK, "vocab": str(files / "vocab.txt")})
    (files / "vocab.txt").unlink()
    with pytest.raises(UsageError, match=r"vocab\.txt"):
        task.save_to(tmp_path / "a.mmkit")


def test_names_in_the_tar_are_short_and_keep_their_suffix():
    assert stored_name("vocab.txt") == "vocab.txt"
    assert stored_name("ein Wörterbuch.txt") == "ein_W_rterbuch.txt"
    assert stored_name("x" * 80 + ".txt.gz") == "x" * 28 + ".txt.gz"
    assert len(stored_name("y" * 200)) == 35


def test_files_with_long_and_foreign_names_come_back_under_them(files, tmp_path):
    name = "ein sehr langer Name für ein Wörterbuch, länger als ein Tar erlaubt.txt"
    shutil.move(files / "vocab.txt", files / name)
    task = TrainingTask.restore_from(saved({"vocab": str(files / name)}, tmp_path / "a.mmkit"))
    assert Path(task.vocab).name == name


# mmkit's own components


@pytest.fixture
def bert(tmp_path):
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8, max_position_embeddings=8
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(tmp_path / "bert")
    return tmp_path / "bert"


def test_local_folder_of_an_encoder_travels_without_its_weights(config, bert, tmp_path, embed):
    config["encoders"]["text"] = {"_target_": "mmkit.modules.encoders.HFTextEncoder", "model_name_or_path": str(bert)}
    task = build(config)
    path = task.save_to(tmp_path / "a.mmkit")
    shutil.rmtree(bert)
    restored = TrainingTask.restore_from(path)
    expected, found = embed(task), embed(restored)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    with open_archive(path) as archive:
        (artifact,) = archive.manifest.artifacts.values()
    assert list(artifact.files) == ["config.json"]
    assert restored.save_to(tmp_path / "b.mmkit").read_bytes() == path.read_bytes()


def test_encoder_outside_of_the_tasks_modules_travels_with_its_weights(bert, tmp_path):
    encoder = {"_target_": "mmkit.modules.encoders.HFTextEncoder", "model_name_or_path": str(bert)}
    task = build({"_target_": TASK, "settings": {"encoders": [encoder]}})
    path = task.save_to(tmp_path / "a.mmkit")
    shutil.rmtree(bert)
    restored = TrainingTask.restore_from(path)
    expected, found = (t.settings["encoders"][0].state_dict() for t in (task, restored))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_weights_file_of_a_timm_encoder_is_not_needed_again(config, tmp_path):
    timm = pytest.importorskip("timm")
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), tmp_path / "weights.pth")
    config["encoders"]["rgb"] = {
        "_target_": "mmkit.modules.encoders.TimmEncoder",
        "model_name": "test_vit",
        "checkpoint_path": str(tmp_path / "weights.pth"),
        "projection_dim": 8,
    }
    task = build(config)
    path = task.save_to(tmp_path / "a.mmkit")
    (tmp_path / "weights.pth").unlink()
    restored = TrainingTask.restore_from(path)
    assert all(torch.equal(a, b) for a, b in zip(task.state_dict().values(), restored.state_dict().values(), strict=True))
    assert restored.config.encoders.rgb.checkpoint_path is None


def test_vocabulary_of_a_tokenizer_travels(files, tmp_path):
    letters = " ".join("abcdefghijklmnopqrstuvwxyz")
    merges = files / "bpe.txt"
    merges.write_text(f"#version: 0.2\n{letters[:3]}\n")
    tokenizer = {"_target_": "mmkit.datasets.tokenizers.CLIPTokenizer", "vocab_file": str(merges)}
    path = saved({"tokenizer": tokenizer}, tmp_path / "a.mmkit")
    expected = build({"_target_": TASK, "tokenizer": tokenizer}).tokenizer("ab cab")["text"]
    shutil.rmtree(files)
    assert torch.equal(TrainingTask.restore_from(path).tokenizer("ab cab")["text"], expected)
