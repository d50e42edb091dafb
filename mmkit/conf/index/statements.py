"""Which parts of a module run when it is imported, and what their names mean."""

import ast
from collections.abc import Iterable, Iterator, Sequence

from mmkit.conf.reading.bindings import Condition, tried
from mmkit.conf.reading.modules import ModuleSource


_MAIN = ("__name__ == '__main__'", "'__main__' == __name__")

STORES = {f"{module}.external_store" for module in ("mmkit", "mmkit.conf", "mmkit.conf.store")}
TABLES = {"mmkit.conf.store.register_table"}
EXTERNAL = {f"{module}.register_external_modules" for module in ("mmkit", "mmkit.conf", "mmkit.conf.store")}
HIDDENS = {  # with the group in which each registers
    f"{module}.register_hidden_{kind}": f"hiddens/{kind}"
    for module in ("mmkit.hiddens", "mmkit.hiddens.registry")
    for kind in ("transform", "loss")
}
# Whoever mentions these may register, or import, what cannot be read.
_OPAQUE = ("hydra_zen", "hydra.core.config_store", "pkgutil", "runpy")
_OPAQUE_NAMES = {"importlib.import_module", "importlib.__import__", "__import__", "exec", "mmkit.conf.store.ZenStore"}
_STARS = {"mmkit", "mmkit.conf", "mmkit.conf.store"}
# Parts of a text that mentions one of these; `m.external_store` after `import mmkit as m` has one, too.
WORDS = ("external_store", "register_table", "register_external_modules", "hydra_zen", "ConfigStore", "config_store")
WORDS += ("import_module", "__import__", "pkgutil", "runpy", "exec(", "ZenStore", "register_hidden_")


def statements(body: Sequence[ast.stmt], when: tuple[Condition, ...] = ()) -> Iterator[tuple[ast.stmt, tuple[Condition, ...]]]:
    """The statements of a module that run when it is imported, with the conditions under which they do.

    Loops come as a whole: nothing is known about how often their bodies run. The test of an ``if`` and what a ``with`` enters
    come as statements of their own.
    """
    for node in body:
        match node:
            case ast.If() if ast.unparse(node.test) in _MAIN:
                yield from statements(node.orelse, when)  # imported, so the module is not `__main__`
            case ast.If():
                yield _alone(node.test), when
                yield from statements(node.body, (*when, Condition(node, True)))
                yield from statements(node.orelse, (*when, Condition(node, False)))
            case ast.Try():
                yield from _of_try(node, when)
            case ast.With():
                yield from ((_alone(item.context_expr), when) for item in node.items)
                suppressed = [each for item in node.items for each in _suppressed(item.context_expr)]
                yield from _of_try(_trying(node, suppressed), when) if suppressed else statements(node.body, when)
            case _:
                yield node, when


def _of_try(node: ast.Try, when: tuple[Condition, ...]) -> Iterator[tuple[ast.stmt, tuple[Condition, ...]]]:
    split = ast.Try(body=[part for each in node.body for part in _split(each)], handlers=node.handlers, orelse=[], finalbody=[])
    for statement, reached in tried(ast.copy_location(split, node)):
        yield from statements([statement], (*when, reached))
    yield from statements(node.orelse, (*when, Condition(node, True)))
    for handler in node.handlers:
        yield from statements(handler.body, (*when, Condition(node, False)))
    yield from statements(node.finalbody, when)


def _suppressed(node: ast.expr) -> list[ast.expr]:
    """What ``contextlib.suppress(…)`` catches."""
    return node.args if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "suppress" else []


def _trying(node: ast.With, caught: list[ast.expr]) -> ast.Try:
    """What a ``with suppress(…)`` does, as a ``try``."""
    handler = ast.ExceptHandler(ast.Tuple(caught, ast.Load()), None, [])
    return ast.copy_location(ast.Try(body=node.body, handlers=[handler], orelse=[], finalbody=[]), node)


def _split(node: ast.stmt) -> list[ast.stmt]:
    """An import as one of each module: that one of them is not there does not undo the import of those before it."""
    parts: list[ast.stmt] = [node]
    if isinstance(node, ast.Import):
        parts = [ast.Import([alias]) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        parts = [ast.ImportFrom(node.module, names, node.level) for names in ([], *([alias] for alias in node.names))]
    return [ast.copy_location(part, node) for part in parts]


def _alone(node: ast.expr) -> ast.stmt:
    return ast.copy_location(ast.Expr(node), node)


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a statement, without the bodies of functions; with those of lambdas, which may be called on the spot."""
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        children = [*node.decorator_list, *node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)]
    for child in children:
        yield from run_at_import(child)


def can_register(source: ModuleSource) -> bool:
    """Whether the text has any of the words without which nothing is registered or imported by name."""
    return any(word in source.text for word in WORDS)


class Meaning:
    """What the names of a module mean that it has by its imports.

    Attributes:
        imported: By name, the dotted paths that it may stand for.
    """

    def __init__(self, source: ModuleSource) -> None:
        self.imported: dict[str, set[str]] = {}
        for name, bindings in source.body.names.items():
            imported = [each for each in bindings if each.module]
            found = {f"{each.module}.{each.attribute}" if each.attribute else each.module for each in imported}
            if found:
                self.imported[name] = found
        self._certain = {name for name, each in source.body.names.items() if len(each) == 1 and not each[0].conditions}
        for star in source.body.stars:
            if star.module in _STARS:
                for name in ("external_store", "register_external_modules"):
                    self.imported.setdefault(name, set()).add(f"{star.module}.{name}")

    def paths(self, node: ast.AST) -> set[str]:
        """What a name or ``a.b.c`` may be, as dotted paths; nothing for other expressions and names of the module's own."""
        if isinstance(node, ast.Attribute):
            return {f"{path}.{node.attr}" for path in self.paths(node.value)}
        if isinstance(node, ast.Name):
            return self.imported.get(node.id, {node.id} if node.id in _OPAQUE_NAMES else set())
        return set()

    def is_certain(self, node: ast.AST) -> bool:
        """Whether the name has one meaning, whatever happens."""
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and len(self.imported.get(node.id, ())) == 1 and node.id in self._certain

    def registers(self, node: ast.AST) -> bool:
        """Whether a name is one by which something is registered, or imported without being named."""
        return any(map(registers, self.paths(node)))

    def registering_names(self) -> set[str]:
        """The module's own names for these."""
        return {name for name, paths in self.imported.items() if any(map(registers, paths))}


def registers(path: str) -> bool:
    """Whether by this something is registered, or imported without being named."""
    return path in STORES | TABLES | EXTERNAL | HIDDENS.keys() | _OPAQUE_NAMES or _is_opaque(path)


def _is_opaque(path: str) -> bool:
    return any(path == each or path.startswith(f"{each}.") for each in _OPAQUE)
