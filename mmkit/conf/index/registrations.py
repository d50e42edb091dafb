"""The registrations that one module makes when it is imported, read from its source."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from mmkit.conf.index.entries import Entry, Problem
from mmkit.conf.index.statements import EXTERNAL, HIDDENS, STORES, TABLES, Meaning, can_register, run_at_import, statements
from mmkit.conf.reading.bindings import Condition
from mmkit.conf.reading.conditions import holds
from mmkit.conf.reading.decorators import check_decorators
from mmkit.conf.reading.errors import NoSuchModule, NoSuchName, Unreadable
from mmkit.conf.reading.modules import ModuleSource
from mmkit.conf.reading.targets import target_path
from mmkit.conf.reading.values import definition_of, evaluate


_WHERE = ("group", "name", "package", "provider")
_HOW = {"zen_partial": "partial", "hydra_convert": "convert", "hydra_recursive": "recursive"}
_OPTIONS = ("zen_", "hydra_", "to_config", "populate_full_signature", "builds_bases", "frozen", "dataclass_name")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def registrations_of(source: ModuleSource, meaning: Meaning) -> Iterator[Entry | Problem]:
    """What importing a module registers, and what of it cannot be read."""
    if not can_register(source):
        return
    for statement, conditions in statements(source.tree.body):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            continue
        mentioned = {id(each): each for each in run_at_import(statement) if meaning.registers(each)}
        if not mentioned:
            continue
        found: list[Entry | Problem] = []
        for call, target in _calls(statement):
            if meaning.is_certain(call.func) and mentioned.pop(id(call.func), None) is not None:
                found += _read_call(call, target, source, meaning)
        if mentioned:
            line = getattr(next(iter(mentioned.values())), "lineno", statement.lineno)
            found = [Problem(None, f"{source.name}, line {line}: a registration, or an import, that is not written out")]
        yield from _where_it_applies(found, conditions, source)


def _calls(statement: ast.stmt) -> Iterator[tuple[ast.Call, Definition | None]]:
    """The calls by which a statement may register: decorators of a class or function, or the statement itself."""
    if isinstance(statement, Definition):
        yield from ((each, statement) for each in statement.decorator_list if isinstance(each, ast.Call))
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        yield statement.value, None


def _where_it_applies(
    found: list[Entry | Problem], conditions: tuple[Condition, ...], source: ModuleSource
) -> list[Entry | Problem]:
    try:
        return found if all(holds(condition, source) for condition in conditions) else []
    except (Unreadable, NoSuchModule, NoSuchName) as error:
        return [Problem(each.group, f"{source.name}: {error}") for each in found]


def _read_call(call: ast.Call, decorated: Definition | None, source: ModuleSource, meaning: Meaning) -> list[Entry | Problem]:
    (path,) = meaning.paths(call.func)
    group: str | None = None
    try:
        group = HIDDENS.get(path) or _group(call, source)
        if path in HIDDENS and decorated is None:
            return [_hidden(call, group, source)]
        if path in TABLES and decorated is None:
            return list(_table(call, source))
        if path in STORES:
            return [_entry(call, decorated, source)]
        raise Unreadable("the classes that it takes" if path in EXTERNAL else "how it is called")
    except (Unreadable, NoSuchModule, NoSuchName) as error:
        return [Problem(group, f"{source.name}, line {call.lineno}: {error}")]


def _group(call: ast.Call, source: ModuleSource) -> str:
    """The group of a registration; raises Unreadable if it is not written out."""
    given = [each.value for each in call.keywords if each.arg == "group"]
    value = evaluate(given[0], source, before=call.lineno) if given else None
    if not isinstance(value, str):
        raise Unreadable("the group")
    return value


def _entry(call: ast.Call, decorated: Definition | None, source: ModuleSource) -> Entry:
    """A call of ``external_store``, on a class or function or with one."""
    if decorated is None and (len(call.args) != 1 or isinstance(call.args[0], ast.Starred)):
        raise Unreadable("what it is called with")
    if decorated is not None and call.args:
        raise Unreadable("a decorator with a positional argument")
    where, keywords = _keywords(call, source)
    target, default_name = _target(call, decorated, source, named="name" in where)
    if decorated is not None and _names_what_comes_later(decorated, source):
        keywords["to_config"] = Unreadable("annotations that name what is defined later")
    return _made({"name": default_name, **where}, keywords, target, call.lineno, source)


def _hidden(call: ast.Call, group: str, source: ModuleSource) -> Entry:
    """A call of ``register_hidden_transform(cls_name, class_or_path)``, or of its sibling for losses."""
    if len(call.args) != 2 or call.keywords:
        raise Unreadable("a hidden transformation or loss whose name and class are not its two positional arguments")
    name = evaluate(call.args[0], source, before=call.lineno)
    if isinstance(call.args[1], ast.Constant):
        target = call.args[1].value
    else:
        found = definition_of(call.args[1], source, before=call.lineno)
        target = found.dotted if found is not None and found.kind == "class" else None
    if not isinstance(name, str) or not isinstance(target, str):
        raise Unreadable("the name or class of a hidden transformation or loss")
    return _made({"group": group, "name": name}, {}, target, call.lineno, source)


def _names_what_comes_later(decorated: Definition, source: ModuleSource) -> bool:
    """Whether an annotation that is text names something that is not there yet when the decorator runs.

    hydra-zen then gets no types at all. Also looks at constructors of earlier classes, which may be inherited.
    """
    functions = [decorated] if not isinstance(decorated, ast.ClassDef) else []
    for each in source.tree.body if not functions else ():
        if isinstance(each, ast.ClassDef) and each.lineno <= decorated.lineno:
            functions += [
                node for node in each.body if isinstance(node, ast.FunctionDef) and node.name in ("__init__", "__new__")
            ]
    later = {name for name, each in source.body.names.items() if min(binding.line for binding in each) >= decorated.lineno}
    return any(later & _names_in_text(each, source.delayed_annotations) for each in functions)


def _names_in_text(function: ast.AST, is_text: bool) -> set[str]:
    """Names in the annotations of a function that are text."""
    assert isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
    arguments = [each.annotation for each in ast.walk(function.args) if isinstance(each, ast.arg)]
    nodes = [node for each in (*arguments, function.returns) if each is not None for node in ast.walk(each)]
    texts = " ".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {*re.findall(r"\w+", texts), *(node.id for node in nodes if isinstance(node, ast.Name) and is_text)}


def _keywords(call: ast.Call, source: ModuleSource) -> tuple[dict[str, Any], dict[str, Any]]:
    """The keywords of a call: where the entry goes, which must be known; and the rest, with Unreadable for what is not."""
    where, rest = {}, {}
    for each in call.keywords:
        if each.arg is None:
            raise Unreadable("`**` in a registration")
        if each.arg in _WHERE:
            value = where[each.arg] = evaluate(each.value, source, before=call.lineno)
            if not isinstance(value, str | None) or (value is None and each.arg in ("group", "name")):
                raise Unreadable(f"its {each.arg}")
        else:
            rest[each.arg] = _value(each.value, source, call.lineno)
    return where, rest


def _value(node: ast.expr, source: ModuleSource, line: int) -> Any:
    try:
        return evaluate(node, source, before=line)
    except Unreadable as unreadable:
        return unreadable


def _target(call: ast.Call, decorated: Definition | None, source: ModuleSource, named: bool) -> tuple[str, str]:
    """The dotted path of what is registered, and its ``__name__`` if no other name is given."""
    if decorated is not None:
        if not named:
            check_decorators(decorated, source)  # one might return something of another name
        return f"{source.name}.{decorated.name}", decorated.name
    found = definition_of(call.args[0], source, before=call.lineno)
    if found is None or found.kind not in ("class", "function"):
        raise Unreadable("what is registered")
    return found.dotted, "" if named else target_path(found).rpartition(".")[2]


def _made(where: dict[str, Any], keywords: dict[str, Any], target: str, line: int, source: ModuleSource, **more: Any) -> Entry:
    how = {_HOW[key]: keywords.pop(key) for key in list(keywords) if key in _HOW}
    unknown = [key for key, value in (how | keywords).items() if isinstance(value, Unreadable) or key.startswith(_OPTIONS)]
    if not isinstance(how.get("partial"), bool | None) or not isinstance(how.get("recursive"), bool | None):
        unknown.append("how it is built")
    return Entry(
        group=where["group"],
        name=where["name"],
        target=target,
        values={} if unknown else keywords,
        partial=None if unknown else how.get("partial"),
        package=where.get("package"),
        provider=where.get("provider"),
        file=str(source.path),
        line=line,
        module=source.name,
        convert="object" if unknown else how.get("convert", "object"),
        recursive=None if unknown else how.get("recursive"),
        unreadable=f"{source.name}, line {line}: {', '.join(unknown)}" if unknown else "",
        **more,
    )


def _table(call: ast.Call, source: ModuleSource) -> Iterator[Entry]:
    """A call of ``register_table(module, names, …)``."""
    if len(call.args) != 2:
        raise Unreadable("a table whose module and names are not its two positional arguments")
    module, names = (evaluate(each, source, before=call.lineno) for each in call.args)
    where, keywords = _keywords(call, source)
    supplied = keywords.pop("supplied", None)
    if isinstance(supplied, Unreadable) or set(where) != {"group"}:
        raise Unreadable("the arguments of a table")
    for name in names:
        more = {"supplied": None if supplied is None else tuple(supplied)}
        yield _made({**where, "name": name}, dict(keywords), f"{module}.{name}", call.lineno, source, **more)
