"""Configurations that want code, secrets or files: by what they name, by Hydra's keywords, by YAML, by paths."""

from typing import Any

from tests.archive.crafting import CANARY, GET_OBJECT, GOOD_CONFIG, LINEAR, TASK, Files, archive, changed


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
projects.nowhere.parts.Thing no_such_package.Thing Torch.nn.modules.linear.Linear
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


def target_files() -> Files:
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


def key_files() -> Files:
    for name, node in KEYS.items():
        yield name, archive(changed("heads/rgb", node)), "heads.rgb"
    for text in INTERPOLATIONS:
        yield f"value {text}", archive(changed("heads/rgb/in_features", text)), "interpolation"
        yield f"target {text}", archive(changed("heads/rgb/_target_", text)), "interpolation"
    yield "indirect target", archive({**GOOD_CONFIG, "x": "os.system", "loss": {"_target_": "${x}"}}), "interpolation"
    for argument in ("trust_remote_code", "auto_map", "code_revision", "megatron_core"):
        node = {"_target_": "mmkit.modules.encoders.hf_text.HFTextEncoder", "config": {argument: "x"}}
        yield f"argument {argument}", archive(changed("encoders/text", node)), "import code of others"


def yaml_files() -> Files:
    for name, (text, reason) in YAML.items():
        yield name, archive(text), reason


def path_files() -> Files:
    for path in PLACES_ON_THE_MACHINE:
        node = {"_target_": "mmkit.modules.encoders.hf_text.HFTextEncoder", "model_name_or_path": path}
        reason = "not a folder of a package" if path.lower().startswith("pkg") else "place on this machine"
        yield path, archive(changed("encoders/text", node)), reason
    sheet = {"a": {"task": {"_target_": "mmkit.tasks.knn.KNNClassification", "bank": ["/etc/shadow"]}}}
    yield "in a list", archive(changed("evaluation_tasks", sheet)), "place on this machine"
    for reference in REFERENCES:
        yield reference, archive(changed("heads/rgb/in_features", reference)), "artifact"
