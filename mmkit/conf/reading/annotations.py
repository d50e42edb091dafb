"""Which type an annotation gives to a configuration: what hydra-zen makes of it for OmegaConf, as text.

hydra-zen keeps the types that OmegaConf can check (``int``, ``Optional[str]``, ``list[int]``, ...) and turns all others into
``Any``. It asks ``typing.get_type_hints``, which gives nothing at all if one name in an annotation that is text is undefined.
"""

import ast
import builtins
import sys
from dataclasses import dataclass, field, replace

from mmkit.conf.reading.classes import is_enum, is_path, mro
from mmkit.conf.reading.decorators import dataclass_decorator
from mmkit.conf.reading.errors import Compiled, NoSuchModule, NoSuchName, Unreadable
from mmkit.conf.reading.modules import ModuleSource
from mmkit.conf.reading.names import Definition, lookup
from mmkit.conf.reading.values import canonical_path, definition_of, imported_path, object_path


class UndefinedName(Exception):  # noqa: N818
    """An annotation that is text holds a name that its module does not have when it runs."""


@dataclass(frozen=True)
class Form:
    """A type.

    Attributes:
        kind: ``any``, ``none``, ``class``, ``union``, ``list``, ``dict``, ``tuple``, ``ellipsis`` or ``other``.
        name: Of a class its path, of another type its text.
        args: What is in its brackets.
        bare: Whether it is a container written without brackets and not by ``typing``, e.g. ``list``.
        from_typing: Whether ``|`` with it makes an ``Optional``: Python 3.11 to 3.13 do so only for what ``typing`` made.
        definition: Of a class that is read from source.
    """

    kind: str
    name: str = ""
    args: tuple["Form", ...] = ()
    bare: bool = False
    from_typing: bool = False
    definition: Definition | None = field(default=None, compare=False)


ANY, NONE, ELLIPSIS = Form("any"), Form("none"), Form("ellipsis")
_PRIMITIVES = ("int", "float", "bool", "str", "bytes")
_CONTAINERS = {"typing.List": "list", "typing.Dict": "dict", "typing.Tuple": "tuple"}
_LITERAL = ("typing.Literal", "typing_extensions.Literal")
_ANNOTATED = ("typing.Annotated", "typing_extensions.Annotated")
_TYPING = ("typing", "typing_extensions")
# Classes that are neither dataclasses nor enumerations nor paths, and whose modules are large or compiled.
_PLAIN_CLASSES = {f"torch.{name}" for name in ("Tensor", "device", "dtype", "Generator", "Size", "memory_format", "layout")}
_PLAIN_CLASSES |= {"torch.nn.Module", "torch.nn.Parameter", "numpy.ndarray", "numpy.random.Generator", "numpy.dtype"}
_BASE_CLASSES = {"enum.Enum": "Enum", "pathlib.Path": "Path", "pathlib.PosixPath": "Path", "pathlib.WindowsPath": "Path"}
_ALWAYS_OPTIONAL = sys.version_info >= (3, 14)  # `int | None` and `Optional[int]` became the same


def config_type(form: Form, *, nested: bool = False, primitive_only: bool = False) -> str:
    """The type that hydra-zen gives to OmegaConf for an annotation.

    Raises:
        Unreadable: Only importing would tell.
    """
    if form.kind == "unreadable":
        raise Unreadable(form.name)
    if form.kind == "class":
        return _class_type(form)
    if form.kind in _PLAIN_CONTAINERS and (form.bare or not form.args):
        return form.kind if form.bare or not primitive_only else "Any"
    if primitive_only:
        return "Any"
    if form.kind == "union":
        return _union_type(form)
    if form.kind == "list":
        return f"list[{config_type(form.args[0], nested=True)}]"
    if form.kind == "dict":
        key = config_type(form.args[0], nested=True, primitive_only=True)
        return f"dict[{key}, {config_type(form.args[1], nested=True)}]"
    if form.kind == "tuple" and not nested:
        return _tuple_type(form)
    return "Any"


_PLAIN_CONTAINERS = ("list", "dict", "tuple")


def takes_optional(form: Form) -> bool:
    """Whether hydra-zen makes the type optional because its default is None."""
    return form.kind == "class" or form.bare


def read_annotation(node: ast.expr, source: ModuleSource, line: int, is_text: bool) -> Form:
    """Read an annotation.

    Args:
        node: The annotation.
        source: The module that holds it.
        line: Where the function is defined: names that are not text have the meaning they had before.
        is_text: Whether it is evaluated after the module has run.

    Raises:
        UndefinedName: It is text, and a name in it is not defined.
        Unreadable: Only importing would tell.
    """
    return _Reader(source, None if is_text else line, is_text).form(node)


@dataclass(frozen=True)
class _Reader:
    source: ModuleSource
    before: int | None
    is_text: bool
    leaves_text: bool = False  # inside `InitVar`, which typing does not look into

    def form(self, node: ast.expr) -> Form:
        """The type; one that only importing would tell is kept as such, for a ``Union`` may not depend on it."""
        try:
            return self._form(node)
        except Unreadable as error:
            self.check(node)
            return Form("unreadable", error.reason)

    def _form(self, node: ast.expr) -> Form:
        match node:
            case ast.Constant(value=None):
                return NONE
            case ast.Constant(value=str(text)):
                return self._text(text)
            case ast.Constant(value=value):
                return ELLIPSIS if value is ... else Form("other", repr(value))
            case ast.Name() | ast.Attribute():
                return self._named(node)
            case ast.Subscript():
                return self._subscripted(node)
            case ast.BinOp(op=ast.BitOr()):
                return self._either(node)
        self.check(node)
        return Form("other", ast.unparse(node))

    def check(self, node: ast.AST) -> None:
        """Look whether all names that are text are defined, where what they stand for does not matter."""
        match node:
            case ast.Constant(value=str()) if self.leaves_text:
                return
            case ast.Constant(value=str(text)):
                _Reader(self.source, None, True).check(_parsed(text, self.source))
            case ast.Subscript() if canonical_path(node.value, self.source, self.before) in _LITERAL:
                self.check(node.value)
            case ast.Name() if self.is_text:
                self._found(node)
            case _:
                for child in ast.iter_child_nodes(node):
                    self.check(child)

    def _text(self, text: str) -> Form:
        if self.leaves_text:
            return Form("other", repr(text))
        return _Reader(self.source, None, True).form(_parsed(text, self.source))

    def _found(self, node: ast.Name) -> None:
        if hasattr(builtins, node.id):
            return
        bindings = self.source.body.names.get(node.id, [])
        if any(not each.conditions and each.kind != "deleted" for each in bindings):
            return
        if lookup(self.source, node.id) is None:
            if self.source.makes_names_at_run_time:
                raise Unreadable(f"{self.source.name} makes some of its names when it is imported")
            raise UndefinedName(node.id)

    def _named(self, node: ast.Name | ast.Attribute) -> Form:
        known = _known_form(imported_path(node, self.source, self.before))
        if known is not None:
            return known
        try:
            found = self._definition(node)
        except Compiled as error:  # its classes are neither dataclasses nor enumerations nor paths
            return Form("other", error.reason)
        if found is None:
            return self._builtin(node)
        known = _known_form(found.dotted)  # passed on by another module
        if known is not None:
            return known
        if found.kind == "class":
            return Form("class", found.dotted, definition=found)
        if found.kind == "value":
            return self._alias(found)
        return Form("other", found.dotted)

    def _definition(self, node: ast.expr) -> Definition | None:
        try:
            return definition_of(node, self.source, self.before)
        except Unreadable as error:
            if self.is_text and isinstance(error.__cause__, NoSuchName | NoSuchModule):
                raise UndefinedName(ast.unparse(node)) from error
            raise

    def _builtin(self, node: ast.Name | ast.Attribute) -> Form:
        if not isinstance(node, ast.Name) or not hasattr(builtins, node.id):
            if self.is_text:
                raise UndefinedName(ast.unparse(node))
            raise Unreadable(f"`{ast.unparse(node)}` is not defined in {self.source.name}")
        if node.id in _PLAIN_CONTAINERS:
            return Form(node.id, bare=True)
        return Form("class" if node.id in _PRIMITIVES else "other", node.id)

    def _alias(self, found: Definition) -> Form:
        node = found.node
        if isinstance(node, ast.Call):
            maker = imported_path(node.func, found.home, None).rpartition(".")[2]
            if maker == "NewType":
                inner = _Reader(found.home, node.lineno, False).form(node.args[1])
                return Form(inner.kind, inner.name, inner.args, inner.bare, True, inner.definition)
            if maker in ("TypeVar", "ParamSpec", "TypeVarTuple", "namedtuple", "TypedDict"):
                return Form("other", found.dotted, from_typing=maker != "namedtuple")
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.BinOp):
            if holds_text(node, found.home):  # evaluated where the alias is used, not where it is defined
                raise Unreadable(f"{found.dotted} holds text")
            return _Reader(found.home, node.lineno, False).form(node)
        raise Unreadable(f"{found.dotted} is computed")

    def _subscripted(self, node: ast.Subscript) -> Form:
        path = canonical_path(node.value, self.source, self.before)
        package, _, name = path.rpartition(".")
        inside = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if package in _TYPING and name == "Optional":
            return _union([self.form(node.slice), NONE], True)
        if package in _TYPING and name == "Union":
            return _union([self.form(each) for each in inside], True)
        if package in _TYPING and name == "Annotated":
            return self.form(inside[0])
        if package == "dataclasses" and name == "InitVar":
            return replace(self, leaves_text=True).form(node.slice)
        container = _CONTAINERS.get(f"typing.{name}") if package in _TYPING else None
        if container is None and isinstance(node.value, ast.Name) and node.value.id in _PLAIN_CONTAINERS:
            container = node.value.id if self._definition(node.value) is None else None
        if container is not None:
            return Form(container, "", tuple(self.form(each) for each in inside), from_typing=package in _TYPING)
        self.check(node)
        return Form("other", ast.unparse(node), from_typing=package in _TYPING)

    def _either(self, node: ast.BinOp) -> Form:
        left, right = self.form(node.left), self.form(node.right)
        return _union([left, right], _ALWAYS_OPTIONAL or left.from_typing or right.from_typing)


def _parsed(text: str, source: ModuleSource) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise Unreadable(f"the annotation {text!r} in {source.name} is not valid Python") from error


def holds_text(node: ast.AST, source: ModuleSource) -> bool:
    """Whether an annotation, or a part of it, is text that Python evaluates later; words of a ``Literal`` are not."""
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.Subscript() if canonical_path(node.value, source, None) in _LITERAL:
            return False
        case ast.Subscript(slice=ast.Tuple(elts=[first, *_])) if canonical_path(node.value, source, None) in _ANNOTATED:
            return holds_text(first, source)
    return any(holds_text(child, source) for child in ast.iter_child_nodes(node))


def _known_form(path: str) -> Form | None:
    """The type that a path of the standard library or of a well-known class stands for."""
    package, _, name = path.rpartition(".")
    if package in _TYPING:
        return _typing_form(name)
    if path in _BASE_CLASSES:
        return Form("class", _BASE_CLASSES[path])
    return Form("other", path) if package in ("collections.abc", "_collections_abc") or path in _PLAIN_CLASSES else None


def _typing_form(name: str) -> Form:
    if name == "Any":
        return ANY
    if f"typing.{name}" in _CONTAINERS:
        return Form(_CONTAINERS[f"typing.{name}"], from_typing=True)
    if name == "Text":
        return Form("class", "str")
    return Form("other", f"typing.{name}", from_typing=True)


def _union(forms: list[Form], from_typing: bool) -> Form:
    flat: list[Form] = []
    for form in forms:
        for each in form.args if form.kind == "union" else (form,):
            if each not in flat:
                flat.append(each)
    return flat[0] if len(flat) == 1 else Form("union", "", tuple(flat), from_typing=from_typing)


def _union_type(form: Form) -> str:
    known = [each for each in form.args if each.kind != "unreadable" and each != NONE]
    if len(known) >= 2:
        return "Any"
    if not form.from_typing or len(form.args) != 2 or NONE not in form.args:
        return _nothing_unreadable(form)
    inner = config_type(next(each for each in form.args if each != NONE))
    return "Any" if inner == "Any" else f"Optional[{inner}]"


def _nothing_unreadable(form: Form) -> str:
    for each in form.args:
        if each.kind == "unreadable":
            raise Unreadable(each.name)
    return "Any"


def _tuple_type(form: Form) -> str:
    different = {each for each in form.args if each != ELLIPSIS}
    element = config_type(form.args[0], nested=True) if len(different) == 1 else "Any"
    if ELLIPSIS in form.args:
        return f"tuple[{element}, ...]"
    return f"tuple[{', '.join([element] * len(form.args))}]"


def _class_type(form: Form) -> str:
    definition = form.definition
    if definition is None:
        return form.name
    order = mro(definition)
    if is_path(definition):
        return "Path"
    if is_enum(definition) or any(each.source and dataclass_decorator(each.class_node, each.home) for each in order):
        return object_path(definition)
    return "Any"
