"""Files that want something else than to be restored: every one must be refused, with a reason, before anything happens.

Each is a good archive with one thing changed. ``$CANARY`` in a payload is a path that a payload would create if it ran.
"""

import copy
import gzip
import hashlib
import io
import json
import lzma
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import yaml

from mmkit.archive.format import CONFIG, MANIFEST, WEIGHTS
from mmkit.archive.tar import END, padding, tar_header


TASK = "mmkit.tasks.contrastive_pretraining.ContrastivePretraining"
LINEAR = "torch.nn.modules.linear.Linear"
GET_OBJECT = "hydra_zen.funcs.get_obj"
CANARY = "$CANARY"

GOOD_CONFIG: dict[str, Any] = {
    "_target_": TASK,
    "encoders": {
        "rgb": {"_target_": "mmkit.modules.encoders.identity.IdentityEncoder", "modality": "rgb"},
        "text": {"_target_": "mmkit.modules.encoders.identity.IdentityEncoder", "modality": "text"},
    },
    "heads": {name: {"_target_": LINEAR, "in_features": 2, "out_features": 2} for name in ("rgb", "text")},
    "loss": {"_target_": "mmkit.modules.losses.contrastive.ContrastiveLoss", "l2_normalize": True},
    "optimizer": {"_target_": "torch.optim.adamw.AdamW", "_partial_": True, "lr": 0.1},
}
SHAPES = {f"model.heads.{name}.{kind}": shape for name in ("rgb", "text") for kind, shape in (("weight", (2, 2)), ("bias", (2,)))}


@dataclass(frozen=True)
class Hostile:
    """A file and a part of the reason for which it must be refused."""

    name: str
    data: bytes
    reason: str


class Payload:
    """Unpickling this creates a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {CANARY}",)


def good_weights() -> bytes:
    from safetensors.torch import save

    return save({"log_logit_scale": torch.tensor(1.0), **{name: torch.ones(shape) for name, shape in SHAPES.items()}})


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tar_of(members: list[tuple[str, bytes]], end: bytes = END) -> bytes:
    return b"".join(tar_header(name, len(data)) + data + padding(len(data)) for name, data in members) + end


def good_manifest(members: dict[str, bytes], artifacts: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "format": "mmkit-archive",
        "version": 1,
        "provenance": {},
        "members": {name: {"size": len(data), "sha256": sha(data)} for name, data in members.items()},
        "artifacts": artifacts or {},
        "registrations": [],
        "aliases": {},
        "withheld": [],
    }


def archive(
    config: Any = None, weights: bytes | None = None, files: dict[str, bytes] | None = None, manifest: Any = None, **changes: Any
) -> bytes:
    """An archive whose manifest fits its members.

    Args:
        config: A mapping, or the text of the configuration.
        weights: The member of the weights.
        files: Artifacts by name.
        manifest: The text of the manifest instead of a fitting one.
        **changes: Changes of the manifest.
    """
    config = GOOD_CONFIG if config is None else config
    text = config if isinstance(config, bytes) else yaml.safe_dump(config, sort_keys=False).encode()
    members = {CONFIG: text, WEIGHTS: good_weights() if weights is None else weights}
    artifacts = {}
    for name, data in (files or {}).items():
        stored = f"{sha(data)}-{name}"
        members[f"artifacts/{stored}"] = data
        artifacts[stored] = {"name": name, "folder": False, "files": {name: f"artifacts/{stored}"}}
    table = {**good_manifest(members, artifacts), **changes}
    table = manifest if manifest is not None else json.dumps(table).encode()
    return tar_of([(MANIFEST, table), *members.items()])


def changed(key: str, value: Any, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """The good configuration with another value under a dotted key."""
    config = copy.deepcopy(base or GOOD_CONFIG)
    *outer, last = key.split("/")
    place = config
    for name in outer:
        place = place.setdefault(name, {})
    place[last] = value
    return config


NOT_REGISTERED = """
os.system os.popen os.execv os.remove posix.system subprocess.Popen subprocess.run subprocess.check_output builtins.eval
builtins.exec builtins.open builtins.compile builtins.__import__ builtins.getattr builtins.print builtins.dict
importlib.import_module importlib.reload runpy.run_path runpy.run_module pickle.load pickle.loads pickle.Unpickler
marshal.loads shelve.open functools.partial functools.reduce operator.attrgetter operator.methodcaller
types.FunctionType shutil.rmtree shutil.copy pathlib.Path pathlib.Path.write_text tempfile.mkdtemp webbrowser.open
code.interact pdb.run timeit.timeit ctypes.CDLL multiprocessing.Process threading.Thread socket.create_connection
urllib.request.urlopen urllib.request.urlretrieve http.client.HTTPConnection antigravity.geohash turtle.Pen this.s
numpy.load numpy.save numpy.f2py.compile numpy.testing.rundocs yaml.unsafe_load yaml.load omegaconf.OmegaConf.load
torch.load torch.save torch.hub.load torch.hub.load_state_dict_from_url torch.serialization.load torch.jit.load
torch.ops.load_library torch.utils.cpp_extension.load torch.utils.data.dataloader.os.system
torch._dynamo.config.os.system torch.nn.LayerNorm torch.nn.modules.linear.Linear.forward
torch.nn.modules.linear.Linear.__init__ torch.nn.DataParallel torch.nn.modules.module.Module
torch.nn.modules.linear.Linear.__init__.__globals__ torch.nn.modules.linear.math.exp torch.optim.adamw.AdamW.__class__
torch.optim.adamw.torch.load torch.optim.AdamW mmkit.modules.layers.MLP mmkit.modules.layers.mlp.nn.Linear
mmkit.modules.layers.mlp.MLP.load_state_dict mmkit.extras.importlib.import_module mmkit.extras.require
mmkit.conf.store.inspect.getsource mmkit.conf.groups.fill_group mmkit.archive.from_pretrained
mmkit.archive.save.save_archive mmkit.archive.build mmkit.tasks.base.TrainingTask mmkit.datasets.cache.shutil.rmtree
mmkit.datasets.preparation.prepare mmkit.trainer.progress.TimedProgressBar hydra.utils.instantiate hydra.utils.call
hydra.utils.get_method hydra.utils.get_object hydra.utils.get_class hydra.main hydra._internal.utils._locate
hydra._internal.instantiate._instantiate2.instantiate hydra.initialize hydra.compose hydra_zen.instantiate
hydra_zen.launch hydra_zen.funcs.zen_processing hydra_zen.funcs.partial_with_wrapper
lightning.pytorch.trainer.trainer.Trainer lightning.pytorch.loggers.csv_logs.CSVLogger
lightning.pytorch.loggers.wandb.WandbLogger lightning.pytorch.callbacks.model_checkpoint.ModelCheckpoint
lightning.pytorch.callbacks.lambda_function.LambdaCallback transformers.pipeline transformers.AutoModel.from_pretrained
projects.emoji_clip.gallery.RetrievalSheet no_such_package.Thing Torch.nn.modules.linear.Linear
torch.nn.modules.linear.linear torch.nn.modules.linear.Linear._
"""
NO_DOTTED_NAME = [
    *("system", "", ".", "os.", ".os.system", "os..system", "os:system", "os/system", "os.system()", "os.system;os"),
    *(" os.system", "os.system ", "os.system\n", "os\t.system", "1os.system", "os.system[0]", "torch.nn.modules.linear.Linear#"),
    *("torch.nn.modules.linear.Line\u0430r", "torch.nn.modules.linear.Line\uff41r", "torch.nn.modules.linear.Linear\u200b"),
    *("\u202etorch.nn", "__import__('os').system", "lambda: os.system", "../os.system", "file:///tmp/x.py"),
]
NAMES = {"not registered": NOT_REGISTERED.split(), "no dotted name": NO_DOTTED_NAME}
RUN = {"_target_": "os.system", "command": f"touch {CANARY}"}

# Where a configuration can name code.
PLACES: dict[str, dict[str, Any]] = {
    "root": {"_target_": "os.system", "_args_": [f"touch {CANARY}"]},
    "encoder": changed("encoders/rgb", RUN),
    "partial": changed("optimizer", {"_target_": "os.system", "_partial_": True}),
    "scheduler": changed("lr_scheduler", {"scheduler": {"_target_": "os.system", "_partial_": True}}),
    "argument": changed("loss/l2_normalize", RUN),
    "positional": changed("heads/rgb", {"_target_": LINEAR, "_args_": [2, RUN]}),
    "list": changed("modality_loss_pairs", [{"modalities": [RUN, "text"]}]),
    "list of lists": changed("modality_loss_pairs", [[[RUN]]]),
    "deep": changed("evaluation_tasks", {"a": {"b": {"c": {"d": [{"e": {"_target_": "os.system"}}]}}}}),
    "not recursive": changed("heads/rgb", {"_target_": LINEAR, "_recursive_": False, "bias": {"_target_": "os.system"}}),
    "beside a number": changed("evaluation_tasks", {1: {"_target_": "os.system"}}),
    "object itself": changed("heads/rgb", {"_target_": LINEAR, "bias": {"_target_": GET_OBJECT, "path": "os.system"}}),
    "object at the root": {"_target_": GET_OBJECT, "path": LINEAR},
    "partial at the root": changed("_partial_", True),
    "no target": {name: value for name, value in GOOD_CONFIG.items() if name != "_target_"},
    "other class": {"_target_": LINEAR, "in_features": 2, "out_features": 2},
}

# Keywords of Hydra and hydra-zen that do more than an archive needs, or that only look like keywords.
KEYS: dict[str, dict[str, Any]] = {
    "zen target": {"_target_": "hydra_zen.funcs.zen_processing", "_zen_target": "os.system", "_zen_exclude": []},
    "zen target of a registered class": {"_target_": LINEAR, "_zen_target": "os.system"},
    "zen partial": {"_target_": LINEAR, "_zen_partial": True},
    "zen wrapper": {"_target_": LINEAR, "_zen_wrappers": "os.system"},
    "zen wrappers": {"_target_": LINEAR, "_zen_wrappers": ["os.system"]},
    "zen exclude": {"_target_": LINEAR, "_zen_exclude": ["in_features"]},
    "zen anything": {"_target_": LINEAR, "_zen_new": 1},
    "target as list": {"_target_": ["os.system"]},
    "target as mapping": {"_target_": {"_target_": "os.system"}},
    "target as number": {"_target_": 1},
    "target as null": {"_target_": None},
    "target as truth": {"_target_": True},
    "target of unicode": {"＿target＿": "os.system"},
    "target with blank": {" _target_": "os.system"},
    "target with blank behind": {"_target_ ": "os.system"},
    "target with zero width": {"_target\u200b_": "os.system"},
    "target in capitals": {"_TARGET_": "os.system"},
    "second target": {"_target_": LINEAR, "x_target_": "os.system"},
    "dotted key": {"_target_": LINEAR, "bias._target_": "os.system"},
    "call": {"_call_": "os.system"},
    "class": {"_target_": LINEAR, "__class__": "os.system"},
    "reduce": {"_target_": LINEAR, "__reduce__": ["os.system"]},
    "recursive as text": {"_target_": LINEAR, "_recursive_": "no"},
    "partial as number": {"_target_": LINEAR, "_partial_": 1},
    "arguments as text": {"_target_": LINEAR, "_args_": "ab"},
    "conversion": {"_target_": LINEAR, "_convert_": "eval"},
    "arguments without target": {"_args_": [1]},
    "object with arguments": {"_target_": GET_OBJECT, "path": LINEAR, "_args_": [1]},
    "object without path": {"_target_": GET_OBJECT},
    "object with another path": {"_target_": GET_OBJECT, "path": ["os", "system"]},
    "interpolated key": {"${oc.env:HOME}": 1},
}

INTERPOLATIONS = [
    "${oc.env:AWS_SECRET_ACCESS_KEY}",
    "${oc.env:HF_TOKEN,none}",
    "pre ${oc.env:HOME} post",
    "${oc.decode:'${oc.env:HOME}'}",
    "${oc.create:{_target_:os.system}}",
    "${oc.select:heads}",
    "${oc.deprecated:heads}",
    "${oc.dict.values:heads}",
    "${hydra:runtime.cwd}",
    "${now:%Y}",
    "${eval:'1+1'}",
    "${python:os.getcwd}",
    "${heads.rgb}",
    "${.in_features}",
    "${..rgb}",
    "${${x}}",
    r"\${oc.env:HOME}",
    r"\\${oc.env:HOME}",
    "${",
]


def _laugh(letter: int) -> bytes:
    return b"%c: &%c [%s]\n" % (letter, letter, b",".join([b"*%c" % (letter - 1)] * 9))


YAML = {
    "python object": (b"_target_: !!python/object/apply:os.system ['touch $CANARY']", "tag"),
    "python name": (b"_target_: !!python/name:os.system ''", "tag"),
    "python module": (b"a: !!python/module:antigravity ''", "tag"),
    "python new": (b"a: !!python/object/new:os.system [x]", "tag"),
    "own tag": (b"a: !include /etc/passwd", "tag"),
    "full tag": (b"a: !<tag:yaml.org,2002:python/object:os.system> {}", "tag"),
    "declared tag": (b"%TAG ! tag:yaml.org,2002:python/\n---\na: !name:os.system ''", "tag"),
    "binary": (b"a: !!binary aGk=", "tag"),
    "set": (b"a: !!set {b, c}", "tag"),
    "string tag": (b"_target_: !!str os.system", "tag"),
    "anchor": (b"a: &x 1", "anchor"),
    "alias": (b"a: &x [1]\nb: *x", "anchor"),
    "circle": (b"a: &x [*x]", "anchor"),
    "laughs": (b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(map(_laugh, range(98, 108))), "anchor"),
    "merge": (b"a: {<<: {_target_: os.system}}", "merge key"),
    "duplicate target": (f"_target_: {TASK}\n_target_: os.system".encode(), "twice"),
    "duplicate deep": (b"a: {b: 1, c: 2, b: 3}", "twice"),
    "equal numbers": (b"1: a\n1.0: b", "twice"),
    "truth and number": (b"1: a\ntrue: b", "twice"),
    "list as key": (b"? [a]\n: b", "neither text nor a number"),
    "mapping as key": (b"? {a: b}\n: c", "neither text nor a number"),
    "null as key": (b"null: 1", "neither text nor a number"),
    "date as key": (b"2020-01-01: 1", "neither text nor a number"),
    "date": (f"_target_: {TASK}\na: 2020-01-01".encode(), "type date"),
    "two documents": (b"a: 1\n---\nb: 2", "several documents"),
    "deep list": (b"a: " + b"[" * 5000, "deeper"),
    "deep mapping": (b"a: " + b"{a: " * 5000, "deeper"),
    "deep indent": (b"\n".join(b" " * i + b"a:" for i in range(200)), "deeper"),
    "many nodes": (b"a: [" + b"1," * 60_000 + b"]", "longer"),
    "large": (b"#" * (2**20 + 1), "are read"),
    "huge number": (b"a: " + b"9" * 9999, "cannot be read"),
    "no mapping": (b"- 1", "not a mapping"),
    "text": (b"_target_", "not a mapping"),
    "empty": (b"", "not a mapping"),
    "not UTF-8": (b"a: \xff\xfe", "cannot be read"),
    "UTF-16": ("a: 1".encode("utf-16"), "cannot be read"),
    "null character": (b"a: \x00", "cannot be read"),
    "escaped null character": (f'_target_: {TASK}\na: "\\0"'.encode(), "null character"),
    "control character": (b"a: \x1b[2J", "cannot be read"),
    "unclosed": (b"a: [1, 2", "cannot be read"),
    "tab": (b"a:\n\t- 1", "cannot be read"),
    "missing value": (f"_target_: {TASK}\nencoders: ???".encode(), "missing"),
}

PLACES_ON_THE_MACHINE = [
    "/etc/passwd",
    "/proc/self/environ",
    "/dev/zero",
    " /etc/passwd",
    "~/.ssh/id_rsa",
    "~root/.ssh/id_rsa",
    "../../secret",
    "models/../../../etc/passwd",
    "..",
    "a\\..\\..\\b",
    "C:\\Windows\\win.ini",
    "c:/windows/win.ini",
    "\\\\server\\share\\x",
    "//server/share",
    "file:///etc/passwd",
    "FILE:/etc/passwd",
    "local-dir:/tmp/evil",
    "pkg://os.path/x",
    "pkg://antigravity.x/y",
    "pkg://mmkit/../../../etc",
    "pkg://mmkit/.hidden",
    "pkg:///etc",
    "pkg://",
    "PKG://antigravity.x/y",
]
REFERENCES = [
    "mmkit:",
    "mmkit:vocab.txt",
    "mmkit:/etc/passwd",
    "mmkit:../../etc/passwd",
    f"mmkit:{'0' * 64}",
    f"mmkit:{'0' * 64}-../../x",
    f"mmkit:{'0' * 64}-a/b",
    f"mmkit:{'0' * 64}-vocab.txt",
    f"mmkit:{'A' * 64}-vocab.txt",
    f"mmkit:{'0' * 64}-vocab.txt\n",
]


def hostile_files() -> list[Hostile]:
    """All of them."""
    makers = (_target_files, _key_files, _yaml_files, _path_files, _tar_files, _manifest_files, _pickle_files, _weight_files)
    return [Hostile(f"{maker.__name__[1:-6]}: {name}", data, reason) for maker in makers for name, data, reason in maker()]


Files = Iterator[tuple[str, bytes, str]]


def _target_files() -> Files:
    for reason, names in NAMES.items():
        for name in names:
            yield repr(name), archive(changed("heads/rgb", {"_target_": name, "command": f"touch {CANARY}"})), reason
    reasons = {
        "object at the root": "no object to build",
        "partial at the root": "no object to build",
        "no target": "no class",
        "other class": "no TrainingTask",
    }
    for place, config in PLACES.items():
        yield f"in the place {place}", archive(config), reasons.get(place, "not registered")


def _key_files() -> Files:
    for name, node in KEYS.items():
        yield name, archive(changed("heads/rgb", node)), "heads.rgb"
    for text in INTERPOLATIONS:
        yield f"value {text}", archive(changed("heads/rgb/in_features", text)), "interpolation"
        yield f"target {text}", archive(changed("heads/rgb/_target_", text)), "interpolation"
    yield "indirect target", archive({**GOOD_CONFIG, "x": "os.system", "loss": {"_target_": "${x}"}}), "interpolation"
    for argument in ("trust_remote_code", "auto_map", "code_revision", "megatron_core"):
        node = {"_target_": "mmkit.modules.encoders.hf_text.HFTextEncoder", "config": {argument: "x"}}
        yield f"argument {argument}", archive(changed("encoders/text", node)), "import code of others"


def _yaml_files() -> Files:
    for name, (text, reason) in YAML.items():
        yield name, archive(text), reason


def _path_files() -> Files:
    for path in PLACES_ON_THE_MACHINE:
        node = {"_target_": "mmkit.modules.encoders.hf_text.HFTextEncoder", "model_name_or_path": path}
        reason = "not a folder of a package" if path.lower().startswith("pkg") else "place on this machine"
        yield path, archive(changed("encoders/text", node)), reason
    sheet = {"a": {"task": {"_target_": "mmkit.tasks.knn.KNNClassification", "bank": ["/etc/shadow"]}}}
    yield "in a list", archive(changed("evaluation_tasks", sheet)), "place on this machine"
    for reference in REFERENCES:
        yield reference, archive(changed("heads/rgb/in_features", reference)), "artifact"


def _tar_files() -> Files:
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


def _manifest_files() -> Files:
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


def _pickle_files() -> Files:
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


def _weight_files() -> Files:
    from safetensors.torch import save

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
