"""The bases and members of a class, as its body says."""

import ast
import builtins
from functools import cache

from mmkit.conf.reading.bindings import Binding, Body, bindings_of
from mmkit.conf.reading.decorators import check_decorators
from mmkit.conf.reading.errors import NoSuchName, Unreadable, close_names
from mmkit.conf.reading.modules import ModuleSource
from mmkit.conf.reading.names import Definition
from mmkit.conf.reading.values import EnumMember, canonical_path, definition_of, evaluate, imported_path, object_path


# Classes of the standard library that are known here, so that their files need not be read.
GENERIC, PROTOCOL, NAMED_TUPLE, ABC = "typing.Generic", "typing.Protocol", "typing.NamedTuple", "abc.ABC"
_KNOWN = {GENERIC: GENERIC, PROTOCOL: PROTOCOL, NAMED_TUPLE: NAMED_TUPLE, ABC: ABC, "abc.ABCMeta": "abc.ABCMeta"}
_KNOWN |= {f"typing_extensions.{each.rpartition('.')[2]}": each for each in (GENERIC, PROTOCOL, NAMED_TUPLE)}
_KNOWN |= {f"enum.{name}": f"enum.{name}" for name in ("Enum", "IntEnum", "StrEnum", "Flag", "IntFlag")}
_KNOWN |= {f"pathlib.{name}": f"pathlib.{name}" for name in ("Path", "PosixPath", "WindowsPath")}
_ABSTRACT = ["AsyncGenerator", "AsyncIterable", "AsyncIterator", "Awaitable", "Callable", "Collection", "Container", "Coroutine"]
_ABSTRACT += ["Generator", "Hashable", "Iterable", "Iterator", "Mapping", "MutableMapping", "MutableSequence", "MutableSet"]
_ABSTRACT += ["Reversible", "Sequence", "Set", "Sized"]
_KNOWN |= {f"{module}.{name}": f"collections.abc.{name}" for module in ("typing", "collections.abc") for name in _ABSTRACT}
_ENUMS = {each for each in _KNOWN if each.startswith("enum.")}
_PATHS = {each for each in _KNOWN if each.startswith("pathlib.")}


@cache
def _body(node: ast.ClassDef, package: str) -> Body:
    return bindings_of(node.body, package)


def own_binding(definition: Definition, name: str) -> Binding | None:
    """The last statement of a class body that binds a name.

    Raises:
        Unreadable: It may or may not run.
    """
    if definition.source is None:
        return None
    bindings = _body(definition.class_node, definition.home.package).names.get(name, [])
    if bindings and bindings[-1].conditions:
        from mmkit.conf.reading.conditions import holds  # conditions follow classes

        bindings = [each for each in bindings if all(holds(condition, definition.home) for condition in each.conditions)]
    return bindings[-1] if bindings and bindings[-1].kind != "deleted" else None


def has_no_constructor(definition: Definition) -> bool:
    """Whether it is a class of Python's own that leaves the making of instances to ``object``."""
    return definition.dotted == ABC or definition.module == "collections.abc"


def known_class(dotted: str) -> Definition:
    """A class that is known by name only: one of Python's own."""
    module, _, name = dotted.rpartition(".")
    return Definition("class", module, name, None, None)


def bases(definition: Definition) -> tuple[Definition, ...]:
    """The direct bases of a class, without ``object`` and ``Generic``, which bring nothing that is looked for here.

    Raises:
        Unreadable: A base is computed.
    """
    if definition.source is None:
        return ()
    found = [_base(each, definition) for each in definition.class_node.bases]
    return tuple(each for each in found if each.dotted not in ("builtins.object", GENERIC))


def _base(node: ast.expr, definition: Definition) -> Definition:
    if isinstance(node, ast.Subscript):  # Generic[T], Sampler[int]
        node = node.value
    source = definition.home
    known = _KNOWN.get(imported_path(node, source, None))
    if known is not None:
        return known_class(known)
    found = _nested_or_global(node, definition)
    if found is not None and found.dotted.replace("_collections_abc", "collections.abc") in _KNOWN:  # passed on by another module
        return known_class(_KNOWN[found.dotted.replace("_collections_abc", "collections.abc")])
    if found is None and isinstance(node, ast.Name) and isinstance(getattr(builtins, node.id, None), type):
        return known_class(f"builtins.{node.id}")
    if found is None or found.kind != "class":
        raise Unreadable(f"the base `{ast.unparse(node)}` of {definition.dotted}")
    return found


def _nested_or_global(node: ast.expr, definition: Definition) -> Definition | None:
    if definition.owner is not None and isinstance(node, ast.Name):
        binding = own_binding(definition.owner, node.id)
        if binding is not None:
            return class_member(definition.owner, node.id)
    return definition_of(node, definition.home, before=definition.class_node.lineno)


def mro(definition: Definition) -> tuple[Definition, ...]:
    """The class and all it inherits from, in Python's order, without ``object``.

    Raises:
        Unreadable: A base is computed.
    """
    parents = bases(definition)
    sequences = [list(mro(each)) for each in parents] + [list(parents)]
    order = [definition]
    while any(sequences):
        sequences = [each for each in sequences if each]
        heads = [each[0] for each in sequences]
        head = next((each for each in heads if not any(_in(each, rest[1:]) for rest in sequences)), None)
        if head is None:
            raise Unreadable(f"the bases of {definition.dotted} have no order")
        order.append(head)
        sequences = [[each for each in rest if each.dotted != head.dotted] for rest in sequences]
    return tuple(order)


def _in(definition: Definition, others: list[Definition]) -> bool:
    return any(each.dotted == definition.dotted for each in others)


def is_enum(definition: Definition) -> bool:
    """Whether a class is an enumeration."""
    return any(each.dotted in _ENUMS for each in mro(definition))


def is_path(definition: Definition) -> bool:
    """Whether a class is ``pathlib.Path`` or derived from it."""
    return any(each.dotted in _PATHS for each in mro(definition))


def is_named_tuple(definition: Definition) -> bool:
    """Whether a class is written as ``class Name(NamedTuple)``."""
    paths = [canonical_path(each, definition.home, None) for each in definition.class_node.bases if _may_be_named_tuple(each)]
    return any(_KNOWN.get(path) == NAMED_TUPLE for path in paths)


def _may_be_named_tuple(base: ast.expr) -> bool:
    return "NamedTuple" in ast.unparse(base)  # saves following every base


def class_member(owner: Definition, name: str) -> Definition:
    """What ``owner.name`` stands for in a class or the classes that it inherits from.

    Raises:
        NoSuchName: None of them has it.
        Unreadable: Only importing would tell.
    """
    for each in mro(owner):
        if each.source is None:
            if each.module == "builtins" and hasattr(getattr(builtins, each.qualname), name):
                return Definition("method", "builtins", f"{each.qualname}.{name}", None, None, each)
            if each.dotted != ABC:
                raise Unreadable(f"{owner.dotted}.{name}: it may come from {each.dotted}")
            continue
        binding = own_binding(each, name)
        if binding is not None:
            return _as_member(binding, each)
    if hasattr(object, name):
        return Definition("method", "builtins", f"object.{name}", None, None, owner)
    _refuse_if_certain(owner, name)
    raise Unreadable(f"{owner.dotted}.{name}")


def _as_member(binding: Binding, owner: Definition) -> Definition:
    qualname = f"{owner.qualname}.{binding.name}"
    if binding.kind == "definition":
        kind = "class" if isinstance(binding.node, ast.ClassDef) else "method"
        return Definition(kind, owner.module, qualname, binding.node, owner.source, owner)
    if binding.kind == "value":
        return Definition("attribute", owner.module, qualname, binding.node, owner.source, owner)
    raise Unreadable(f"{owner.dotted}.{binding.name} is set in a way that is not followed (line {binding.line})")


def _refuse_if_certain(owner: Definition, name: str) -> None:
    """Say that there is no such name, unless a metaclass, a decorator or an assignment elsewhere may make it."""
    names: list[str] = []
    for each in mro(owner):
        if each.source is None:
            continue
        check_decorators(each.class_node, each.home)
        if any(
            keyword.arg == "metaclass" and ast.unparse(keyword.value) not in _PLAIN_METACLASSES
            for keyword in each.class_node.keywords
        ):
            return
        if any(text in each.home.text for text in (f"{each.qualname}.{name}", f"setattr({each.qualname}", "setattr(cls")):
            return
        names += _body(each.class_node, each.home.package).names
    raise NoSuchName(f"{owner.dotted}.{name}", owner.dotted, close_names(name, names))


_PLAIN_METACLASSES = {"ABCMeta", "abc.ABCMeta", "type"}


def attribute_value(definition: Definition) -> object:
    """The value of a class attribute or of a member of an enumeration.

    Raises:
        Unreadable: Only importing would tell.
    """
    owner = definition.owner
    assert owner is not None
    assert isinstance(definition.node, ast.expr)
    name = definition.qualname.rpartition(".")[2]
    if is_enum(owner):
        return EnumMember(object_path(owner), name, _enum_value(definition.node, owner.home))
    return class_level_value(definition.node, owner)


def _enum_value(node: ast.expr, source: ModuleSource) -> object:
    try:
        return evaluate(node, source, before=node.lineno)
    except Unreadable as error:
        return error


def class_level_value(node: ast.expr, owner: Definition) -> object:
    """The value of an expression in a class body, which sees the names of the body and of the module.

    Raises:
        Unreadable: Only importing would tell.
    """
    if isinstance(node, ast.Name):
        binding = own_binding(owner, node.id)
        if binding is not None and binding.line < node.lineno:
            if binding.kind == "value" and isinstance(binding.node, ast.expr):
                return class_level_value(binding.node, owner)
            raise Unreadable(f"`{node.id}` in the body of {owner.dotted}")
    elif any(isinstance(each, ast.Name) and own_binding(owner, each.id) is not None for each in ast.walk(node)):
        raise Unreadable(f"`{ast.unparse(node)}` in the body of {owner.dotted}")
    return evaluate(node, owner.home, before=owner.class_node.lineno)
