"""Files that are no archives, or whose members, manifest, artifacts or weights are not what they should be."""

import gzip
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile
from typing import Any

import torch
import yaml
from safetensors.torch import save

from mmkit.archive.format import CONFIG, MANIFEST, WEIGHTS
from mmkit.archive.tar import END, tar_header
from tests.archive.crafting import (
    GOOD_CONFIG,
    LINEAR,
    SHAPES,
    Files,
    Payload,
    archive,
    changed,
    good_manifest,
    good_weights,
    sha,
    tar_of,
)


def tar_files() -> Files:
    good = archive()
    with tarfile.open(fileobj=io.BytesIO(good)) as tar:
        members = [(info.name, tar.extractfile(info).read()) for info in tar]  # pyright: ignore[reportOptionalMemberAccess]
    strange = {
        "absolute": "/etc/cron.d/x",
        "parent": "../x",
        "parent inside": "artifacts/../../x",
        "home": "~/x",
        "drive": "C:/x",
        "backslash": "artifacts\\x",
        "no artifact": "artifacts/x",
        "second folder": f"artifacts/{'0' * 64}-a/b",
        "script": "setup.py",
        "dot": "./config.yaml",
        "empty": "",
        "other letters": "CONFIG.yaml",
        "other manifest": "Manifest.json",
        "blank": "config.yaml ",
        "capital digest": f"artifacts/{'A' * 64}-x",
    }
    for name, member in strange.items():
        yield f"name {name}", tar_of([*members, (member, b"x")]), ""
        listed = archive(members={CONFIG: {"size": 0, "sha256": sha(b"")}, member: {"size": 1, "sha256": sha(b"x")}})
        yield f"listed name {name}", listed, ""
    for name in (MANIFEST, CONFIG, WEIGHTS):
        yield f"twice {name}", tar_of([*members, (name, b"x")]), "twice"
        yield f"without {name}", tar_of([member for member in members if member[0] != name]), ""
    kinds = {"hard link": b"1", "symbolic link": b"2", "character device": b"3", "block device": b"4", "directory": b"5"}
    kinds |= {"FIFO": b"6", "contiguous": b"7", "sparse": b"S", "pax": b"x", "global pax": b"g", "long name": b"L", "old": b"\0"}
    kinds |= {"long link": b"K", "volume": b"V", "multi-volume": b"M", "dump": b"D", "unknown": b"Z"}
    for kind, flag in kinds.items():
        yield f"kind {kind}", tar_of(members, end=b"") + _raw_header("x", 0, flag, b"/etc/passwd") + END, "not a file"
    yield "first is a link", _raw_header(MANIFEST, 0, b"2", b"/etc/passwd") + tar_of(members[1:]), "not a file"
    yield "regular with link", tar_of(members, end=b"") + _raw_header("x", 0, b"0", b"/etc/passwd") + END, "names a link"
    yield "name not ASCII", tar_of(members, end=b"") + _raw_header("é", 0, b"0") + END, "plain ASCII"
    yield "name behind null", tar_of(members, end=b"") + _raw_header("a\0../x", 0, b"0") + END, "plain ASCII"
    yield "size over the end", tar_of(members, end=b"") + _raw_header("x", 10**9, b"0") + END, "cut off"
    yield "size of terabytes", tar_of(members, end=b"") + _raw_header("x", 1 << 60, b"0") + END, "cut off"
    yield "size no number", _with_checksum(_raw_header("x", 0, b"0").replace(b"00000000000", b"-0000000001", 1)) + END, "number"
    yield "checksum", good[:150] + b"7" + good[151:], "checksum"
    yield "no end", tar_of(members, end=b""), "cut off"
    yield "half an end", tar_of(members, end=END[:512]), "not the end"
    yield "appended", good + b"x" * 512, "not the end"
    yield "appended archive", good + archive(), "not the end"
    yield "appended zeros", good + bytes(10**6), "not the end"
    yield "many members", tar_of([*members, *((f"m{i}", b"") for i in range(4100))]), "more than"
    for size in (0, 1, 511, 512, 513, len(good) // 2, len(good) - 1200):
        yield f"cut at {size}", good[:size], ""
    yield "gzip", gzip.compress(good, mtime=0), "compressed"
    yield "xz", lzma.compress(good), "compressed"
    yield "gzip bomb", gzip.compress(bytes(10**7), mtime=0), "compressed"
    yield "zip", _zip({"config.yaml": b"x"}), "compressed"
    yield "text", b"_target_: os.system\n" * 100, "no tar"
    yield "zeros", bytes(10240), ""
    places = {"manifest": good.index(b'"version"'), "configuration": good.index(b"in_features"), "weights": good.index(b"F32")}
    places |= {"value": len(good) - len(END) - 512, "padding": len(good) - len(END) - 1, "header": 110, "end": len(good) - 5}
    for name, offset in places.items():
        yield f"bit of the {name}", good[:offset] + bytes([good[offset] ^ 16]) + good[offset + 1 :], ""


def _raw_header(name: str, size: int, kind: bytes, link: bytes = b"") -> bytes:
    header = bytearray(tar_header("x", 0))
    header[0:100] = name.encode().ljust(100, b"\0")
    header[124:136] = (b"%011o\0" % size) if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    header[156:157] = kind
    header[157:257] = link.ljust(100, b"\0")
    return _with_checksum(bytes(header))


def _with_checksum(header: bytes) -> bytes:
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


def manifest_files() -> Files:
    texts = {
        "empty": b"",
        "list": b"[]",
        "cut": b'{"format": "mmkit-archive"',
        "not UTF-8": b"\xff",
        "other format": b'{"format": "zip"}',
        "no version": b'{"format": "mmkit-archive"}',
        "NaN": b'{"format": NaN}',
        "twice": b'{"format": "mmkit-archive", "format": "mmkit-archive"}',
        "deep": b'{"a": ' + b"[" * 10**5,
        "huge number": b'{"format": ' + b"9" * 10**5 + b"}",
        "pickle": pickle.dumps(Payload()),
        "large": b" " * (5 * 2**20) + b"{}",
    }
    for name, text in texts.items():
        yield name, archive(manifest=text), ""
    yield "later version", archive(version=2), "version"
    yield "version as text", archive(version="1"), "version"
    yield "members as list", archive(members=[]), "no object"
    yield "no members", archive(members={}), "not in the manifest"
    yield "aliases as list", archive(aliases=[["a", "b"]]), "no object"
    yield "aliases of numbers", archive(aliases={"a": 1}), "no text"
    yield "registrations as text", archive(registrations="x"), "no list"
    yield "registration incomplete", archive(registrations=[{"owner": "x"}]), "registration"
    yield "registration of numbers", archive(registrations=[{"owner": 1, "config_path": "x", "artifact": None}]), "registration"
    unknown = {"owner": "x", "config_path": "x", "artifact": f"{'0' * 64}-x"}
    yield "registration of nothing", archive(registrations=[unknown]), "unknown"
    entries = good_manifest({CONFIG: b"", WEIGHTS: b""})["members"]
    for name, entry in {
        "size wrong": {"size": 1, "sha256": "0" * 64},
        "size negative": {"size": -1, "sha256": "0" * 64},
        "size a fraction": {"size": 1.5, "sha256": "0" * 64},
        "size true": {"size": True, "sha256": "0" * 64},
        "digest short": {"size": 1, "sha256": "0"},
        "digest absent": {"size": 1},
        "entry of more": {"size": 1, "sha256": "0" * 64, "path": "/etc/passwd"},
        "entry a text": "x",
    }.items():
        yield name, archive(members={**entries, CONFIG: entry}), ""
    yield "digest wrong", archive(members=_members_with(CONFIG, sha(b"other"))), "damaged"
    yield "digest of the weights wrong", archive(members=_members_with(WEIGHTS, sha(b"other"))), "damaged"
    yield "manifest lists itself", archive(members={**_members_with(CONFIG, None), MANIFEST: {"size": 1, "sha256": "0" * 64}}), ""
    yield from _artifact_files()


def _members_with(name: str, digest: str | None) -> dict[str, Any]:
    members = good_manifest({CONFIG: yaml.safe_dump(GOOD_CONFIG, sort_keys=False).encode(), WEIGHTS: good_weights()})["members"]
    members[name]["sha256"] = digest or members[name]["sha256"]
    return members


def _artifact_files() -> Files:
    data = b"hello"
    member = f"artifacts/{sha(data)}-vocab.txt"
    reference = f"{sha(data)}-vocab.txt"

    def with_artifact(key: str = reference, **entry: Any) -> bytes:
        good = {"name": "vocab.txt", "folder": False, "files": {"vocab.txt": member}}
        return archive(files={"vocab.txt": data}, artifacts={key: {**good, **entry}})

    names = ["/etc/passwd", "../x", "a/../../x", "..", ".", "", "a/b", "a\\b", "C:x", "a\nb", "a\u202eb", " a", "e\u0301"]
    for name in [*names, "x" * 300]:
        yield f"artifact named {name[:20]!r}", with_artifact(name=name, files={name: member}), ""
        yield f"file at {name[:20]!r} of a folder", with_artifact(folder=True, files={f"{name}/x": member, "y": member}), ""
    yield "other name", with_artifact(name="other.txt"), "has the name"
    yield "no files", with_artifact(files={}), "no files"
    yield "file no member", with_artifact(files={"vocab.txt": WEIGHTS}), "no member"
    yield "file the configuration", with_artifact(files={"vocab.txt": CONFIG}), "no member"
    yield "file absent", with_artifact(files={"vocab.txt": f"artifacts/{'0' * 64}-x"}), "no member"
    yield "wrong reference", with_artifact(key=f"{'0' * 64}-vocab.txt"), "digest"
    yield "reference a path", with_artifact(key="../x"), "described"
    yield "folder with a wrong digest", with_artifact(folder=True), "digest"
    yield "letters clash", with_artifact(folder=True, files={"a": member, "A": member}), "clash"
    yield "file and folder clash", with_artifact(folder=True, files={"a": member, "a/b": member}), "clash"
    yield "folder no truth", with_artifact(folder="no"), "no files"
    yield "member without artifact", archive(files={"vocab.txt": data}, artifacts={}), "no artifact"


def _zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


def pickle_files() -> Files:
    buffer = io.BytesIO()
    torch.save({"state_dict": {"a": torch.ones(1)}}, buffer)
    for protocol in range(6):
        evil = pickle.dumps(Payload(), protocol)
        yield f"file, protocol {protocol}", evil, ""
        yield f"weights, protocol {protocol}", archive(weights=evil), WEIGHTS
        yield f"configuration, protocol {protocol}", archive(evil), CONFIG
        yield f"artifact, protocol {protocol}", archive(files={"vocab.txt": evil}), "pickle"
    yield "file of torch.save", buffer.getvalue(), "compressed"
    yield "weights of torch.save", archive(weights=buffer.getvalue()), WEIGHTS
    yield "artifact of torch.save", archive(files={"weights.bin": buffer.getvalue()}), "pickle"
    evil_zip = _zip({"x/data.pkl": pickle.dumps(Payload())})
    yield "artifact zip", archive(files={"vocab.zip": evil_zip}), "pickle"
    yield "artifact broken zip", archive(files={"vocab.zip": b"PK\3\4broken"}), "pickle"
    for suffix in ("pkl", "pickle", "joblib", "dill", "pt", "pth", "ckpt", "PKL"):
        yield f"artifact .{suffix}", archive(files={f"x.{suffix}": pickle.dumps(Payload(), 0)}), "pickle"
    for suffix in ("py", "pyc", "so", "dll", "sh", "PY"):
        yield f"artifact .{suffix}", archive(files={f"x.{suffix}": b"import os"}), "code"


def weight_files() -> Files:
    def raw(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + body

    tensor = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    broken = {
        "empty": b"",
        "short": b"\1\2",
        "zeros": bytes(100),
        "header too long": raw({}, length=2**62),
        "header no JSON": raw(b"os.system"),
        "header a list": raw([]),
        "body missing": raw({"a": tensor}),
        "body too long": raw({"a": tensor}, bytes(8)),
        "overlap": raw({"a": tensor, "b": tensor}, bytes(4)),
        "hole": raw({"a": {**tensor, "data_offsets": [4, 8]}}, bytes(8)),
        "backwards": raw({"a": {**tensor, "data_offsets": [4, 0]}}, bytes(4)),
        "negative shape": raw({"a": {**tensor, "shape": [-1]}}, bytes(4)),
        "huge shape": raw({"a": {**tensor, "shape": [2**40, 2**40]}}, bytes(4)),
        "type unknown": raw({"a": {**tensor, "dtype": "PICKLE"}}, bytes(4)),
    }
    for name, data in broken.items():
        yield name, archive(weights=data), WEIGHTS
    good = {"log_logit_scale": torch.tensor(1.0), **{name: torch.ones(shape) for name, shape in SHAPES.items()}}
    yield "missing", archive(weights=save({name: value for name, value in good.items() if "bias" not in name})), "Missing"
    yield "unexpected", archive(weights=save({**good, "evil": torch.ones(1)})), "Without a place"
    yield "other shape", archive(weights=save({**good, "model.heads.rgb.bias": torch.ones(3)})), "shape"
    yield "alias of nothing", archive(aliases={"a": "no.such"}), "another name"
    yield "alias of an alias", archive(aliases={"a": "b", "b": "a"}), "another name"
    yield "alias of a stored name", archive(aliases={"log_logit_scale": "log_logit_scale"}), "another name"
    large = {"_target_": LINEAR, "in_features": 2**40, "out_features": 2**40}
    yield "memory", archive(changed("heads/rgb", large)), "cannot be built"
    yield "wrong argument", archive(changed("heads/rgb/nonsense", 1)), "cannot be built"
