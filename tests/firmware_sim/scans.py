"""Our packages, imported so that they count the elements of collections they look through.

A call counts as one however long the list is that it sorts, and `in` is no call at all. So the
source is rewritten as it is imported: each collection that an operator, a loop or a call goes
through is handed to a counter first. What C code does with fields of its own accord, such as an
encoder with a struct's, is not seen. `python -m tests.firmware_sim.scans BOXES...` prints a list.
"""

import ast
import builtins
import importlib.machinery
import json
import sys
from collections import deque
from collections.abc import ItemsView, KeysView, Sequence, ValuesView
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType

OURS = ("coordinator", "edge_client", "firmware_sim", "proto", "quantization")
SEQUENCES = (list, tuple, deque)
COLLECTIONS = (*SEQUENCES, set, frozenset, dict, KeysView, ValuesView, ItemsView)
CALLS = {"sorted", "min", "max", "sum", "list", "tuple", "set", "frozenset", "dict", "any", "all"}
CALLS |= {"enumerate", "zip", "map", "filter", "deque", "Counter", "chain"}
ARGUMENTS = {"extend", "update", "join", "union", "difference", "intersection", "fromkeys"}
RECEIVERS = {"index", "count", "remove", "insert", "copy", "sort", "union", "difference"}


class Counted:
    """Elements that were gone through since it was last set to nothing."""

    elements = 0

    def through(self, value: object) -> object:
        """All of a collection."""
        if isinstance(value, COLLECTIONS):
            self.elements += len(value)
        return value

    def looked_up(self, value: object) -> object:
        """`in` goes through a sequence, not through what is hashed."""
        return self.through(value) if isinstance(value, SEQUENCES) else value


class Rewritten(ast.NodeTransformer):
    """Collections pass through the counter on the way to who goes through them."""

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.ops[0], ast.In | ast.NotIn):
            node.comparators = [_by("looked_up", one) for one in node.comparators]
        elif isinstance(node.ops[0], ast.Eq | ast.NotEq):
            node.left = _by("through", node.left)
        return node

    def visit_For(self, node: ast.For) -> ast.AST:
        self.generic_visit(node)
        node.iter = _by("through", node.iter)
        return node

    def visit_comprehension(self, node: ast.comprehension) -> ast.AST:
        self.generic_visit(node)
        node.iter = _by("through", node.iter)
        return node

    def visit_Starred(self, node: ast.Starred) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.ctx, ast.Load):
            node.value = _by("through", node.value)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        node.left, node.right = _by("through", node.left), _by("through", node.right)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        method = isinstance(node.func, ast.Attribute)
        if name in (ARGUMENTS if method else CALLS):
            plain = (a if isinstance(a, ast.Starred) else _by("through", a) for a in node.args)
            node.args = list(plain)
        if isinstance(node.func, ast.Attribute) and name in RECEIVERS:
            node.func.value = _by("through", node.func.value)
        return node


def _by(name: str, value: ast.expr) -> ast.expr:
    counter = ast.Attribute(ast.Name("__counted__", ast.Load()), name, ast.Load())
    return ast.copy_location(ast.Call(counter, [value], []), value)


def rewritten(source: str | bytes, path: str, mode: str = "exec") -> CodeType:
    """Code that hands what it goes through to `__counted__`."""
    tree = Rewritten().visit(ast.parse(source, path, mode))
    return compile(ast.fix_missing_locations(tree), path, mode, dont_inherit=True)  # type: ignore[no-any-return]


class Loader(SourceFileLoader):
    """Compiles what was rewritten, and keeps no file of it."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return rewritten(self.get_data(path), path)


class Finder(MetaPathFinder):
    """Finds our packages as usual, for that loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name.partition(".")[0] not in OURS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = Loader(name, spec.loader.path)
        return spec


def main() -> None:
    counted = Counted()
    builtins.__counted__ = counted  # type: ignore[attr-defined]
    sys.meta_path.insert(0, Finder())
    from tests.firmware_sim.test_cost import collecting, finish

    found = []
    for boxes in map(int, sys.argv[1:]):
        fleet = collecting(boxes)
        counted.elements = 0
        updates = finish(fleet, boxes)
        found.append(counted.elements / updates)
    print(json.dumps(found))  # noqa: T201


if __name__ == "__main__":
    main()
