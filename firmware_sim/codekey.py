"""Which code made something: a key of source files that comments and layout leave as it is."""

import ast
import hashlib
import tomllib
from collections.abc import Sequence
from pathlib import Path


def code_key(root: Path, patterns: Sequence[str]) -> str:
    """Of the code in these files below `root`, but for its comments, docstrings and layout.

    Tables in TOML count as code does.
    """
    digest = hashlib.sha256()
    for path in sorted(path for pattern in patterns for path in root.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        said = repr(tomllib.loads(text)) if path.suffix == ".toml" else _code(text)
        digest.update(f"{path.name}\n{said}\n".encode())
    return digest.hexdigest()[:16]


def _code(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [line for line in body if not _is_text(line)]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def _is_text(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant)
