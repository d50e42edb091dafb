"""Components of a composed configuration: whether they exist, and whether they take what they are given."""

import dataclasses
import re

from omegaconf import DictConfig, ListConfig, Node, OmegaConf

from mmkit.cli.preflight.mistakes import Mistake
from mmkit.cli.preflight.names import closest
from mmkit.cli.preflight.origins import Origins
from mmkit.cli.preflight.signatures import look_up, names, takes_any
from mmkit.cli.preflight.types import explained
from mmkit.cli.preflight.walk import Visit, flag, is_open
from mmkit.conf.reading import NoSuchModule, NoSuchName, Parameter, Signature


_KEYWORDS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")
_FILLED = re.compile(r"(dataloader\.\w+|datasets\..*)\.dataset|trainer\.(logger|callbacks)")

# The extras of mmkit, by the packages that they bring.
_EXTRAS = {
    "timm": "vision",
    "torchvision": "vision",
    "transformers": "text",
    "tokenizers": "text",
    "peft": "peft",
    "wandb": "wandb",
    "tensorboard": "tensorboard",
    "mlflow": "mlflow",
    "matplotlib": "report",
    "emoji": "demo",
    "resvg_py": "demo",
}
# Packages that are installed by another name than they are imported by.
_INSTALLED_AS = {"PIL": "pillow", "cv2": "opencv-python", "sklearn": "scikit-learn", "skimage": "scikit-image", "yaml": "pyyaml"}


def check_target(visit: Visit, origins: Origins) -> list[Mistake]:
    """Everything wrong with a node that has a ``_target_``."""
    node = visit.node
    if not isinstance(node, DictConfig) or not is_open(node) or flag(node, "_target_") is None:
        return []
    target = _value(node, "_target_")
    if not isinstance(target, str) or target == "???":
        return []
    if _is_as_registered(node, target):
        return _text_for_numbers(visit, node, target, origins)
    found = look_up(target)
    if isinstance(found, NoSuchModule | NoSuchName):
        return [_unknown(visit.key, target, found, origins)]
    if found is None:
        return []
    unknown = _unknown_arguments(visit, node, found, origins)
    meant = {name for mistake in unknown for name in names(found) if name in mistake.suggestion}
    not_given = [mistake for mistake in _not_given(visit, node, found, origins) if mistake.key.rpartition(".")[2] not in meant]
    return [*unknown, *_wrong_types(visit, node, found, origins), *_text_for_numbers(visit, node, target, origins), *not_given]


def _is_as_registered(node: DictConfig, target: str) -> bool:
    """Whether the node's type is the signature, so that composing has judged its arguments already."""
    kind = OmegaConf.get_type(node)
    if kind is None or not dataclasses.is_dataclass(kind):
        return False
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    return fields.get("_target_") == target and set(map(str, node)) <= set(fields)


def _value(node: DictConfig, key: str) -> object:
    """A value, resolved; None if it does not resolve, which is told elsewhere."""
    try:
        return node.get(key)
    except Exception:  # whatever a resolver raises
        return None


def _unknown(key: str, target: str, error: NoSuchModule | NoSuchName, origins: Origins) -> Mistake:
    key = f"{key}._target_"
    typed = origins.typed(key)
    place = "" if typed else origins.place(key)
    subject = typed or key
    if isinstance(error, NoSuchModule) and error.top_level_missing and not error.close:
        package = target.partition(".")[0]
        return Mistake("MM403", subject, f"{target} needs the package {package!r}: {install(package)}", "", place=place)
    better = _better(target, error)
    if better:
        better = typed.replace(target, better) if typed else f"_target_: {better}"
    if isinstance(error, NoSuchName):
        missing = target.removeprefix(f"{error.owner}.")
        advice = "" if better or not error.close else f"It has: {', '.join(error.close[:8])}."
        return Mistake("MM401", subject, f"{error.owner} has no {missing!r}.", better, advice, place)
    advice = f"Or {install(target.partition('.')[0])}" if error.top_level_missing else ""
    return Mistake("MM402", subject, f"there is no module {error.dotted!r}.", better, advice, place)


def _better(target: str, error: NoSuchModule | NoSuchName) -> str:
    """The path that was meant: with a close name in place of the wrong part, or without that part, if it exists."""
    owner = error.owner if isinstance(error, NoSuchName) else error.dotted.rpartition(".")[0]
    _, *rest = (target.removeprefix(f"{owner}.") if owner else target).split(".")
    names = [close.rpartition(".")[2] for close in error.close]
    paths = [".".join(filter(None, [owner, name, *rest])) for name in names]
    if owner and rest:
        paths.append(".".join([owner, *rest]))
    return next((path for path in paths if isinstance(look_up(path), Signature)), "")


def install(package: str) -> str:
    """How to install the package that brings a module."""
    if package in _EXTRAS:
        return f"pip install mmkit[{_EXTRAS[package]}]"
    return f"pip install {_INSTALLED_AS.get(package, package.replace('_', '-'))}"


def _unknown_arguments(visit: Visit, node: DictConfig, found: Signature, origins: Origins) -> list[Mistake]:
    if takes_any(found):
        return []
    known = names(found)
    mistakes = []
    for name in map(str, node):
        if name in _KEYWORDS or name in known:
            continue
        key = f"{visit.key}.{name}"
        typed = origins.typed(key)
        meant = closest(name, known)
        if meant is None:
            suggestion = ""
        elif typed and typed.partition("=")[0].lstrip("+") == key:
            plus = "" if meant in node else "+"
            suggestion = f"{plus}{visit.key}.{meant}={typed.partition('=')[2]}"
        else:
            suggestion = meant
        advice = "" if meant else f"It takes: {', '.join(known[:25])}."
        what = f"{_short(found.target)} takes no argument {name!r}."
        mistakes.append(Mistake("MM404", typed or key, what, suggestion, advice, "" if typed else origins.place(key)))
    return mistakes


def _wrong_types(visit: Visit, node: DictConfig, found: Signature, origins: Origins) -> list[Mistake]:
    """Values that cannot be what the annotation says; those of typed nodes have been judged by OmegaConf already."""
    mistakes = []
    for parameter in found.parameters:
        child = node._get_node(parameter.name) if parameter.name in node else None
        if not isinstance(child, Node) or child._is_missing() or child._is_interpolation():
            continue
        kind = str(parameter.type)
        optional = kind.startswith("Optional[") or "None" in kind
        value = child._value()
        if isinstance(child, DictConfig | ListConfig):
            wanted = kind.removeprefix("Optional[").rstrip("]")
            is_wrong = wanted in ("int", "float", "bool", "str") and not (isinstance(child, DictConfig) and "_target_" in child)
            message, better = f"{_short(found.target)} takes a single {wanted} here.", ""
        else:
            is_wrong, message, better = _scalar(kind.removeprefix("Optional[").removesuffix("]"), value, optional)
        if is_wrong:
            key = f"{visit.key}.{parameter.name}"
            typed = origins.typed(key)
            suggestion = (f"{typed.partition('=')[0]}={better}" if typed else f"{parameter.name}: {better}") if better else ""
            mistakes.append(Mistake("MM301", typed or key, message, suggestion, place="" if typed else origins.place(key)))
    return mistakes


def _scalar(kind: str, value: object, optional: bool) -> tuple[bool, str, str]:
    """Whether a value cannot be of a type, why, and what can."""
    wanted = {"int": int, "float": float, "bool": bool}.get(kind)
    if wanted is None or not isinstance(value, str) or (optional and value in ("null",)):
        return False, "", ""
    try:
        OmegaConf.structured(_holder(kind)).value = value
    except Exception as error:
        return True, *explained(error)  # pyright: ignore[reportArgumentType]
    return False, "", ""


def _holder(kind: str) -> type:
    from dataclasses import make_dataclass

    return make_dataclass(
        "Holder", [("value", {"int": int, "float": float, "bool": bool}[kind], {"int": 0, "float": 0.0, "bool": False}[kind])]
    )


def _text_for_numbers(visit: Visit, node: DictConfig, target: str, origins: Origins) -> list[Mistake]:
    """Text where the annotation is a union of numbers and tensors, such as ``float | Tensor``: a node takes anything."""
    texts = {str(name): child._value() for name in node if isinstance(child := node._get_node(name), Node) and _is_text(child)}
    found = look_up(target) if texts.keys() - set(_KEYWORDS) else None
    mistakes = []
    for parameter in found.parameters if isinstance(found, Signature) else ():
        if parameter.name in texts and _is_number_or_tensor(parameter.annotation):
            key = f"{visit.key}.{parameter.name}"
            typed = origins.typed(key)
            what = f"{texts[parameter.name]!r} is not a number."
            mistakes.append(Mistake("MM301", typed or key, what, place="" if typed else origins.place(key)))
    return mistakes


def _is_text(node: Node) -> bool:
    return isinstance(node._value(), str) and not node._is_interpolation() and not node._is_missing()


def _is_number_or_tensor(annotation: str) -> bool:
    """Whether an annotation is a union of numbers and tensors, with or without None."""
    members = {word.rpartition(".")[2] for word in re.findall(r"[\w.]+", annotation)} - {"Union", "Optional", "None"}
    return len(members) > 1 and members <= {"int", "float", "complex", "bool", "Tensor"} and bool(members & {"int", "float"})


def _not_given(visit: Visit, node: DictConfig, found: Signature, origins: Origins) -> list[Mistake]:
    if flag(node, "_partial_") or not visit.is_built_by_parent:
        return []
    args = node._get_node("_args_", validate_access=False)
    positional = len(args) if isinstance(args, ListConfig) and is_open(args) else 0
    taken = [parameter for parameter in found.parameters if parameter.kind in ("positional_only", "positional_or_keyword")]
    given = {parameter.name for parameter in taken[:positional]} | set(map(str, node))
    mistakes = []
    for parameter in found.parameters:
        if not _is_required(parameter) or parameter.name in given or _FILLED.fullmatch(f"{visit.key}.{parameter.name}"):
            continue
        key = f"{visit.key}.{parameter.name}"
        place = origins.place(f"{visit.key}._target_")
        suggestion = f"{parameter.name}: VALUE" if place else f"+{key}=VALUE"
        mistakes.append(Mistake("MM405", key, f"{_short(found.target)} needs {parameter.name}.", suggestion, place=place))
    return mistakes


def _is_required(parameter: Parameter) -> bool:
    return parameter.required and not parameter.kind.startswith("var_")


def _short(target: str) -> str:
    return target.rpartition(".")[2]
