"""TOML files to frozen structs, with errors that name the key, the value and what is accepted."""

import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
from msgspec import inspect

from coordinator.notices import printable
from proto.errors import ConfigError

MAX_FILE = 256 * 1024
LONGEST = 80
"""Characters of a refused value that are shown."""

T = TypeVar("T")
Prepare = Callable[[dict[str, Any]], dict[str, Any]]


def read(path: Path, kind: type[T], prepare: Prepare = dict) -> T:
    """Raises ConfigError."""
    try:
        with path.open("rb") as file:  # by length, not by size: a device or a pipe has none
            text = file.read(MAX_FILE + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(text) > MAX_FILE:
        raise ConfigError(f"{path} is larger than {MAX_FILE} bytes; it is no scenario")
    try:
        return decode(text, kind, prepare)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def decode(text: bytes, kind: type[T], prepare: Prepare = dict) -> T:
    """Raises ConfigError. `prepare` fills in what a struct cannot, such as a default tag."""
    try:
        return _converted(prepare(_tables(text)), kind)
    except RecursionError:
        raise ConfigError("this file has lists or tables within each other, too deep") from None


def _tables(text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"this is not TOML: {printable(str(error))}") from None
    except ValueError:
        raise ConfigError("this file has a number of thousands of digits") from None


def _converted(raw: dict[str, Any], kind: type[T]) -> T:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(_explain(str(error), raw, kind)) from None


def refuse(key: str, value: object, accepted: str | Iterable[str]) -> NoReturn:
    """The one form of every refusal."""
    words = accepted if isinstance(accepted, str) else f"one of {', '.join(sorted(accepted))}"
    raise ConfigError(f"{key} is {_short(str(value)) or 'empty'}; accepted: {words}")


def _short(text: str) -> str:
    shown = printable(text, LONGEST)
    return shown if len(text) <= LONGEST else f"{shown}..."


def _explain(message: str, raw: Any, kind: Any) -> str:
    """msgspec's message, with what it leaves out: the value, and what would do."""
    what, _, where = message.partition(" - at `")
    steps = re.findall(r"\.([^.\[\]]+)|\[(\d+)\]", where.rstrip("`"))
    node, value, key = inspect.type_info(kind), raw, ""
    for name, index in steps:
        node = _child(node, name, value)
        value = value.get(name) if name and isinstance(value, dict) else value
        value = value[int(index)] if index and isinstance(value, list) else value
        key += f"[{index}]" if index else f".{name}"
    key = key.lstrip(".")
    if unknown := re.search(r"unknown field `(.*)`", what):
        names = ", ".join(sorted(_fields(_struct(node, value))))
        given = value.get(unknown[1]) if isinstance(value, dict) else None
        name = _join(key, _short(unknown[1]))
        return f"{name} = {_short(repr(given))} is no key here; accepted: {names}"
    if missing := re.search(r"missing required field `(.*)`", what):
        wanted = _words(_child(_struct(node, value), missing[1], value))
        return f"{_join(key, missing[1])} is missing; accepted: {wanted}"
    shown = "nothing" if value is None else _short(repr(value))
    return f"{key or 'the file'} is {shown}; accepted: {_words(node)}"


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _struct(node: Any, value: Any) -> Any:
    """Of a union, the struct that the value means by its tag."""
    choices = [node] if isinstance(node, inspect.StructType) else list(getattr(node, "types", ()))
    structs = [c for c in choices if isinstance(c, inspect.StructType)]
    for struct in structs:
        if (
            struct.tag_field
            and isinstance(value, dict)
            and value.get(struct.tag_field) == struct.tag
        ):
            return struct
    return structs[0] if len(structs) == 1 else node


def _fields(node: Any) -> dict[str, Any]:
    if not isinstance(node, inspect.StructType):
        return {}
    fields = {f.encode_name: f.type for f in node.fields}
    return fields | ({node.tag_field: node} if node.tag_field else {})


def _child(node: Any, name: str, value: Any) -> Any:
    """The type one step down; the node itself where it cannot be told."""
    struct = _struct(node, value)
    if name and name in _fields(struct):
        return _tags(node) if getattr(struct, "tag_field", None) == name else _fields(struct)[name]
    for choice in getattr(node, "types", (node,)):
        if name and isinstance(choice, inspect.DictType):
            return choice.value_type
        if not name and isinstance(choice, inspect.VarTupleType | inspect.ListType):
            return choice.item_type
        if not name and isinstance(choice, inspect.TupleType):
            return choice.item_types[0]
    return _tags(node) if name else node


def _tags(node: Any) -> Any:
    tags = [c.tag for c in getattr(node, "types", ()) if isinstance(c, inspect.StructType)]
    return inspect.LiteralType(tuple(tags)) if tags else node


def _words(node: Any) -> str:
    """A type in a person's words."""
    words = type(node).__name__.removesuffix("Type").lower()
    match node:
        case inspect.Metadata(type=inner, extra_json_schema=more):
            words = (more or {}).get("description") or _words(inner)
        case inspect.UnionType(types=types):
            parts = [_words(t) for t in types if not isinstance(t, inspect.NoneType)]
            words = ", or ".join(dict.fromkeys(parts))
        case inspect.LiteralType(values=values):
            words = "one of " + ", ".join(map(str, values))
        case inspect.BoolType():
            words = "true or false"
        case inspect.StrType(pattern=pattern):
            words = f"a text like {pattern}" if pattern else "a text"
        case inspect.IntType() | inspect.FloatType():
            words = _number(node)
        case inspect.StructType():
            words = "a table with " + ", ".join(sorted(_fields(node)))
        case inspect.DictType(value_type=inner):
            words = f"a table of names, each with {_words(inner)}"
        case inspect.VarTupleType(item_type=inner) | inspect.ListType(item_type=inner):
            words = f"a list, each {_words(inner)}"
        case inspect.TupleType(item_types=items):
            words = f"a list of {len(items)}: " + ", ".join(map(_words, items))
    return words


def _number(node: Any) -> str:
    kind = "a whole number" if isinstance(node, inspect.IntType) else "a number"
    bounds = [
        f"{words} {bound:.15g}"
        for words, bound in (
            ("above", node.gt),
            ("from", node.ge),
            ("below", node.lt),
            ("to", node.le),
        )
        if bound is not None
    ]
    return " ".join([kind, *bounds])
