"""The house rules that a machine can keep."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("proto", "quantization", "edge_client", "coordinator", "firmware_sim")

MAX_LINES = 400
LONG = 300
"""Lines above which a module is named, so that it is cut before it has to be."""
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6

VAGUE_NAMES = {
    "util",
    "utils",
    "common",
    "helper",
    "helpers",
    "base",
    "manager",
    "managers",
    "misc",
}
IO_MODULES = {
    "asyncio",
    "os",
    "paho",
    "random",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
    "time",
}
PURE = (
    *(f"proto.{name}" for name in ("messages", "codec", "replay", "topics")),
    *(f"proto.{name}" for name in ("circuit", "lightcone", "ansatz", "qcnn", "qasm", "blobs")),
    *(f"edge_client.{name}" for name in ("session", "state", "consent")),
    *(f"coordinator.{name}" for name in ("rounds", "buffered", "rulebook", "jobstate")),
    "coordinator.aggregation",
    "coordinator.selection.*",
    *(
        f"quantization.{name}"
        for name in ("arrays", "codes", "moments", "pack", "places", "scheme", "uniform")
    ),
    "quantization.gguf.*",
    "quantization.graphs.*",
    "quantization.adapters.lora",
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the five packages by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            words = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(words)] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def path_of(module: str) -> Path:
    return ROOT.joinpath(*module.split(".")).with_suffix(".py")


def functions() -> Iterator[tuple[str, Function]]:
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, Function):
                yield module, node


def imports(tree: ast.Module) -> set[str]:
    """First levels of all that a module imports, wherever in it."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


def parameters(function: Function) -> list[str]:
    given = function.args
    names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
    return [name for name in names if name not in ("self", "cls")]


def is_command(module: str, function: Function) -> bool:
    """A Typer command's parameters are its options, not a caller's burden."""
    return module.endswith(".cli") and any(
        isinstance(d, ast.Call) and ast.unparse(d.func) == "app.command"
        for d in function.decorator_list
    )


def users(library: str) -> set[str]:
    return {module for module, tree in modules().items() if library in imports(tree)}


def test_no_module_is_too_long_to_read():
    lengths = {m: len(path_of(m).read_text(encoding="utf-8").splitlines()) for m in modules()}
    for module, lines in sorted(lengths.items()):
        if lines > LONG:
            print(f"{module} has {lines} lines; at {MAX_LINES} it must be cut")  # noqa: T201
    assert {m: lines for m, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_function_is_too_long_to_read():
    lengths = {f"{m}.{f.name}": (f.end_lineno or 0) - f.lineno + 1 for m, f in functions()}
    assert {n: lines for n, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


def test_no_function_asks_for_too_much():
    counts = {f"{m}.{f.name}": len(parameters(f)) for m, f in functions() if not is_command(m, f)}
    assert {name: count for name, count in counts.items() if count > MAX_PARAMETERS} == {}


def test_no_module_has_a_name_that_says_nothing():
    assert [m for m in modules() if VAGUE_NAMES & set(m.split("."))] == []


def test_no_error_is_swallowed_whole():
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ExceptHandler):
                continue
            caught = ast.unparse(node.type) if node.type else "everything"
            assert node.type is not None, f"{module} line {node.lineno}: a bare except"
            silent = all(isinstance(line, ast.Pass) for line in node.body)
            broad = caught in ("Exception", "BaseException")
            assert not (silent and broad), f"{module} line {node.lineno}: {caught} is swallowed"


def test_no_bytes_are_ever_run():
    assert users("pickle") | users("marshal") | users("shelve") == set()
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec"), f"{module} line {node.lineno}: {called}"
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert ast.unparse(node.value) == "False", f"{module}: allow_pickle"


def test_one_module_knows_mqtt_and_three_know_sql():
    assert users("paho") == {"proto.connection"}
    assert users("sqlalchemy") == {
        "coordinator.schema",
        "coordinator.statements",
        "coordinator.store",
    }


def test_pure_cores_do_no_io_and_know_no_clock_or_chance():
    checked = 0
    for module, tree in modules().items():
        family = f"{module.rpartition('.')[0]}.*"
        if module in PURE or family in PURE:
            checked += 1
            assert imports(tree) & IO_MODULES == set(), module
    assert checked >= len(PURE)


def test_imports_go_the_agreed_ways():
    program = Path(sys.executable).with_name("lint-imports")
    found = subprocess.run([str(program)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-3000:] + found.stderr[-1000:]
