import os
import random
import shutil

import pytest

from mmkit.errors import RefusedError
from mmkit.experiment.checkpoint import DirectoryCheckpointIO, list_checkpoints, verify
from mmkit.experiment.checkpoint.manifest import MANIFEST, MEMBERS, decode, encode


FILES = (*MEMBERS, MANIFEST)


@pytest.fixture
def pair(tmp_path, save):
    """Two good checkpoints that differ in every member."""
    first = save(tmp_path / "a", 1, 0.5, "seed: 1\n")
    second = save(tmp_path / "b", 2, 0.7, "seed: 2\n")
    assert all((first / name).read_bytes() != (second / name).read_bytes() for name in FILES)
    return first, second


def _assert_refused(path, about):
    """Verification and loading both name the checkpoint and say why."""
    for read in (verify, DirectoryCheckpointIO().load_checkpoint):
        with pytest.raises(RefusedError) as raised:
            read(path)
        assert str(raised.value).startswith(f"{path}: ")
        assert about in str(raised.value)


def _flipped(path, bit):
    with path.open("r+b") as file:
        file.seek(bit // 8)
        byte = file.read(1)[0]
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def _truncations(path):
    whole = path.read_bytes()
    for length in sorted({0, 1, len(whole) // 2, len(whole) - 1}):
        path.write_bytes(whole[:length])
        yield f"truncated to {length}"
    path.write_bytes(whole)


def _flips(path):
    size = 8 * path.stat().st_size
    bits = range(size) if path.name == MANIFEST else random.Random(path.name).sample(range(size), min(size, 150))
    for bit in bits:
        _flipped(path, bit)
        yield f"bit {bit} flipped"
        _flipped(path, bit)


def _replacements(path, other):
    whole = path.read_bytes()
    for name, data in {
        "appended": whole + b"\0",
        "a space appended": whole + b" ",
        "of another checkpoint": (other / path.name).read_bytes(),
        "zeros": bytes(len(whole)),
        "noise": random.Random(0).randbytes(len(whole)),
    }.items():
        path.write_bytes(data)
        yield name
    path.write_bytes(whole)


def _kinds(path, other):
    aside = path.parent.parent / "aside"
    path.rename(aside)
    yield "missing"
    for name, make in {
        "a link to itself": lambda: path.symlink_to(aside),
        "a link to another": lambda: path.symlink_to(other / path.name),
        "a dangling link": lambda: path.symlink_to("nowhere"),
        "a directory": path.mkdir,
        "a pipe": lambda: os.mkfifo(path),
    }.items():
        make()
        yield name
        path.rmdir() if name == "a directory" else path.unlink()
    aside.rename(path)


def test_every_kind_of_damage_to_every_member_is_refused(pair, capsys):
    path, other = pair
    tried = 0
    for name in FILES:
        member = path / name
        for damages in (_truncations(member), _flips(member), _replacements(member, other), _kinds(member, other)):
            for damage in damages:
                tried += 1
                try:
                    _assert_refused(path, "")
                except BaseException as error:
                    raise AssertionError(f"{name}, {damage}: {error!r}") from error
    assert verify(path).step == 1  # everything was put back
    with capsys.disabled():
        print(f"\ndamaged members: {tried:,} tried, {tried:,} refused", end=" ")


@pytest.mark.slow
def test_every_single_bit_of_a_checkpoint_counts(pair, capsys):
    path, _ = pair
    tried = 0
    for name in FILES:
        for bit in range(8 * (path / name).stat().st_size):
            _flipped(path / name, bit)
            with pytest.raises(RefusedError):
                verify(path)
            _flipped(path / name, bit)
            tried += 1
    with capsys.disabled():
        print(f"\nflipped bits: {tried:,} tried, {tried:,} refused", end=" ")


@pytest.mark.parametrize("name", FILES)
def test_the_member_that_is_damaged_is_named(pair, name):
    path, _ = pair
    data = (path / name).read_bytes()
    (path / name).write_bytes(data[:-2] + bytes([data[-2] ^ 255]) + data[-1:])
    _assert_refused(path, f"{name} is damaged")


def test_what_is_wrong_is_told_of_every_member_at_once(pair):
    path, _ = pair
    (path / "trainer.pt").unlink()
    (path / "state.json").write_text("")
    with pytest.raises(RefusedError, match=r"state.json has 0 bytes instead of \d+; trainer.pt is missing"):
        verify(path)


@pytest.mark.parametrize("name", ["notes.txt", ".hidden", "model.safetensors.bak", "extra/"])
def test_a_foreign_member_is_refused(pair, name):
    path, _ = pair
    (path / name).mkdir() if name.endswith("/") else (path / name).touch()
    _assert_refused(path, f"{name.rstrip('/')!r} does not belong to it")


def test_members_of_two_checkpoints_that_are_swapped_are_noticed(pair, tmp_path):
    path, other = pair
    for name in FILES:
        (path / name).rename(tmp_path / "held")
        (other / name).rename(path / name)
        (tmp_path / "held").rename(other / name)
        if name != FILES[-1]:
            _assert_refused(path, "")
            _assert_refused(other, "")
    _assert_refused(path, "it holds step 2, so it is another checkpoint under this name")
    renamed = path.rename(tmp_path / "my favourite")  # a name without a step is anyone's
    assert verify(renamed).step == 2


@pytest.mark.parametrize("kind", ["nothing", "an empty directory", "a run", "a file", "a foreign manifest"])
def test_what_is_no_checkpoint_is_refused(tmp_path, kind):
    path, about = tmp_path / "thing", "it is not a checkpoint: it has no manifest.json"
    if kind == "nothing":
        about = "there is no such checkpoint"
    elif kind == "a file":
        path.write_text("x")
        with pytest.raises(RefusedError, match="thing: it is not a checkpoint: it is not a directory"):
            verify(path)
        return
    else:
        path.mkdir()
    if kind == "a run":
        (path / "config.yaml").write_text("a: 1")
    if kind == "a foreign manifest":
        (path / MANIFEST).write_text('{"name": "web app", "icons": []}')
        about = "manifest.json is not one of a checkpoint"
    _assert_refused(path, about)


def test_a_later_format_is_named(pair):
    path, _ = pair
    manifest = (path / MANIFEST).read_text().replace('"version": 1', '"version": 2')
    (path / MANIFEST).write_text(manifest)
    _assert_refused(path, "it has format version 2, and this mmkit reads up to 1")


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b"[" * 100_000,
        b'{"format": "mmkit-checkpoint"}',
        b'{"format": "mmkit-checkpoint", "version": "1"}',
    ],
    ids=["empty", "not text", "null", "a list", "deep", "bare", "a version as text"],
)
def test_a_manifest_that_is_something_else_is_refused(pair, manifest):
    path, _ = pair
    (path / MANIFEST).write_bytes(manifest)
    _assert_refused(path, "manifest.json")


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "model.safetensors/x", "other.pt"])
def test_a_forged_manifest_cannot_name_other_files(pair, name):
    path, _ = pair
    manifest = decode((path / MANIFEST).read_bytes())
    manifest.members[name] = manifest.members["state.json"]
    (path / MANIFEST).write_bytes(encode(manifest))
    _assert_refused(path, f"manifest.json names {name!r}")


def test_a_forged_manifest_cannot_leave_members_out(pair):
    path, _ = pair
    manifest = decode((path / MANIFEST).read_bytes())
    del manifest.members["trainer.pt"]
    (path / MANIFEST).write_bytes(encode(manifest))
    _assert_refused(path, "manifest.json does not state size and digest of trainer.pt")


def test_a_huge_manifest_is_not_read(pair):
    path, _ = pair
    os.truncate(path / MANIFEST, 1 << 30)
    _assert_refused(path, "manifest.json is not a small file")


def test_a_copy_and_a_link_to_a_whole_checkpoint_are_good(pair, tmp_path):
    path, _ = pair
    assert verify(shutil.copytree(path, tmp_path / "copy")).step == 1
    (tmp_path / "last").symlink_to(path)
    assert DirectoryCheckpointIO().load_checkpoint(tmp_path / "last")["global_step"] == 1


def test_a_quick_look_finds_sizes_and_a_thorough_one_digests(pair):
    path, _ = pair
    _flipped(path / "trainer.pt", 800)
    (quick,), (thorough,) = list_checkpoints(path.parent), list_checkpoints(path.parent, thorough=True)
    assert quick.problem is None
    assert thorough.problem == "trainer.pt is damaged: it does not have the digest that the manifest states"
