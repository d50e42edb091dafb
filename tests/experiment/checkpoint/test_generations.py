import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmkit.errors import RefusedError, UsageError
from mmkit.experiment.checkpoint import CheckpointInfo, DirectoryCheckpointIO, Retention, best, list_checkpoints, newest_good


def _damage(path, name="trainer.pt"):
    data = bytearray((path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (path / name).write_bytes(data)


def test_the_last_saved_is_listed_first(tmp_path, save):
    for step in (1, 5, 3):  # step 3: the run went on from before step 5
        save(tmp_path, step, score=step / 10)
    listed = list_checkpoints(tmp_path)
    assert [info.step for info in listed] == [3, 5, 1]
    assert [info.is_latest for info in listed] == [True, False, False]
    assert (listed[0].score, listed[0].monitor, listed[0].epoch, listed[0].problem) == (0.3, "val/loss", 0, None)
    assert listed[0].size == sum(file.stat().st_size for file in listed[0].path.iterdir() if file.name != "manifest.json")


def test_the_latest_good_checkpoint_is_used_without_a_word(tmp_path, save, caplog):
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    assert newest_good(tmp_path) == path
    assert not caplog.records


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()], ids=["missing", "empty"])
def test_where_nothing_was_ever_saved_there_is_nothing(tmp_path, make):
    make(tmp_path / "checkpoints")
    assert newest_good(tmp_path / "checkpoints") is None
    assert best(tmp_path / "checkpoints") is None
    assert list_checkpoints(tmp_path / "checkpoints") == []


def test_the_generation_before_is_used_with_one_warning(tmp_path, save, caplog):
    first, second, third = (save(tmp_path, step) for step in (1, 2, 3))
    _damage(third)
    (second / "model.safetensors").unlink()
    assert newest_good(tmp_path) == first
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    message = record.getMessage()
    assert str(first) in message
    assert f"{third}: trainer.pt is damaged" in message
    assert f"{second}: model.safetensors is missing" in message


def test_a_checkpoint_whose_manifest_is_gone_is_named_if_its_step_is_later(tmp_path, save, caplog):
    (save(tmp_path, 1) / "manifest.json").unlink()
    second, third, fourth = (save(tmp_path, step) for step in (2, 3, 4))
    _damage(fourth)
    (third / "manifest.json").unlink()
    assert newest_good(tmp_path) == second
    assert "step-000003: it is not a checkpoint: it has no manifest.json" in caplog.text
    assert "step-000001" not in caplog.text


def test_if_none_is_good_all_are_refused_by_name(tmp_path, save):
    for step in (1, 2):
        _damage(save(tmp_path, step), "state.json")
    with pytest.raises(
        RefusedError, match=r"(?s)is good:.*step-000002: state.json is damaged.*step-000001: state.json is"
    ) as raised:
        newest_good(tmp_path)
    assert raised.value.exit_code == 3


@pytest.mark.parametrize(
    "text", ["step-000009\n", "", "../elsewhere", "\0", "garbage " * 1000], ids=["gone", "empty", "outside", "zero", "long"]
)
def test_a_pointer_to_nothing_is_told_and_passed_over(tmp_path, save, caplog, text):
    path = save(tmp_path, 1)
    (tmp_path / "LATEST").write_text(text)
    assert newest_good(tmp_path) == path
    assert "which is not there" in caplog.text


def test_a_missing_pointer_is_no_damage(tmp_path, save, caplog):
    save(tmp_path, 1)
    path = save(tmp_path, 2)
    (tmp_path / "LATEST").unlink()
    assert newest_good(tmp_path) == path
    assert not caplog.records


def test_a_pointer_alone_is_a_lost_run_not_a_new_one(tmp_path):
    (tmp_path / "LATEST").write_text("step-000001\n")
    with pytest.raises(RefusedError, match="names 'step-000001', which is not there"):
        newest_good(tmp_path)


@pytest.mark.parametrize("kind", ["file", "directory", "without manifest"])
def test_what_only_looks_like_a_checkpoint_is_refused(tmp_path, kind):
    path = tmp_path / ("epoch=1.ckpt" if kind == "without manifest" else "step-000001")
    path.touch() if kind == "file" else path.mkdir()
    if kind == "without manifest":
        (path / "trainer.pt").touch()
    with pytest.raises(RefusedError, match=r"No checkpoint in .* is good"):
        newest_good(tmp_path)


def test_the_pointer_decides_between_branches(tmp_path, save):
    save(tmp_path, 9)
    path = save(tmp_path, 4)  # the run went on from an earlier step
    assert newest_good(tmp_path) == path


@pytest.mark.parametrize(("mode", "step"), [("min", 2), ("max", 3)])
def test_the_best_is_chosen_by_score(tmp_path, save, mode, step):
    for number, score in {1: 0.5, 2: 0.1, 3: 0.9, 4: None, 5: float("nan")}.items():
        save(tmp_path, number, score)
    assert best(tmp_path, mode) == tmp_path / f"step-{step:06d}"


def test_the_best_knows_how_it_was_saved(tmp_path, content):
    io = DirectoryCheckpointIO(retention=Retention(save_top_k=-1, mode="max"), asynchronous=False)
    for step, score in ((1, 0.9), (2, 0.1)):
        io.save_checkpoint(content(step, score), tmp_path / f"step-{step:06d}")
    assert best(tmp_path) == tmp_path / "step-000001"


def test_without_scores_none_is_best(tmp_path, save):
    save(tmp_path, 1)
    assert best(tmp_path) is None


def test_a_damaged_best_is_passed_over_with_a_warning(tmp_path, save, caplog):
    second = save(tmp_path, 1, 0.2)
    _damage(save(tmp_path, 2, 0.1))
    assert best(tmp_path) == second
    assert "step-000002: trainer.pt is damaged" in caplog.text
    _damage(second)
    with pytest.raises(RefusedError, match="No checkpoint with a score"):
        best(tmp_path)


def _names(directory):
    return sorted(int(name[5:]) for name in os.listdir(directory) if name.startswith("step-"))


@pytest.mark.parametrize(
    ("retention", "kept"),
    [
        (Retention(), [2, 5, 6]),
        (Retention(mode="max"), [1, 5, 6]),
        (Retention(save_top_k=0), [5, 6]),
        (Retention(save_top_k=-1), [1, 2, 3, 4, 5, 6]),
        (Retention(save_top_k=2, keep_last=3), [2, 3, 4, 5, 6]),
    ],
    ids=str,
)
def test_the_best_and_the_last_are_kept(tmp_path, content, retention, kept):
    io = DirectoryCheckpointIO(retention=retention)
    for step, score in enumerate([0.9, 0.1, 0.3, 0.5, None, 0.6], start=1):
        io.save_checkpoint(content(step, score), tmp_path / f"step-{step:06d}")
    io.wait()
    assert _names(tmp_path) == kept
    assert sorted(os.listdir(tmp_path))[0] == "LATEST"  # and nothing temporary


def test_two_generations_are_kept_besides_the_best_also_if_that_is_the_last(tmp_path, content):
    io = DirectoryCheckpointIO(retention=Retention())
    for step in range(1, 7):
        io.save_checkpoint(content(step, 1 / step), tmp_path / f"step-{step:06d}")
    io.wait()
    assert _names(tmp_path) == [4, 5, 6]


def test_damaged_checkpoints_are_neither_counted_nor_deleted(tmp_path, content, save):
    (save(tmp_path, 1) / "trainer.pt").unlink()
    io = DirectoryCheckpointIO(retention=Retention())
    for step in (2, 3, 4, 5):
        io.save_checkpoint(content(step), tmp_path / f"step-{step:06d}")
    io.wait()
    assert _names(tmp_path) == [1, 4, 5]


@given(
    scores=st.lists(st.none() | st.integers(0, 5).map(float), min_size=1, max_size=12),
    latest=st.integers(0, 11),
    top=st.integers(0, 3),
    last=st.integers(2, 4),
    mode=st.sampled_from(["min", "max"]),
)
def test_what_is_kept_is_what_was_promised(scores, latest, top, last, mode):
    infos = [
        CheckpointInfo(Path(str(step)), step, 0, score, "m", generation=step, is_latest=step == latest % len(scores))
        for step, score in enumerate(scores)
    ]
    gone = {info.step for info in Retention(top, mode, last).surplus(infos)}
    kept = [info for info in infos if info.step not in gone]
    assert all(not info.is_latest for info in infos if info.step in gone)
    assert {info.step for info in infos[-last:]} <= {info.step for info in kept}
    ranked = sorted((score for score in scores if score is not None), reverse=mode == "max")
    kept_scores = sorted((info.score for info in kept if info.score is not None), reverse=mode == "max")
    assert kept_scores[: min(top, len(ranked))] == ranked[:top]
    assert len(kept) <= top + last + 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"mode": "best"}, "mode='best' of a checkpoint's score: it is min or max"),
        ({"save_top_k": -2}, "save_top_k=-2"),
        ({"keep_last": 1}, "keep_last=1: it is at least 2"),
    ],
)
def test_a_wrong_retention_is_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        Retention(**arguments)
