"""What importing Qfleet gives: our own `proto`, typed packages, and a box without heavy company."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import proto

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ["proto", "quantization", "edge_client", "coordinator", "firmware_sim"]
HEAVY = {
    "torch",
    "qiskit",
    "pennylane",
    "scipy",
    "onnxruntime",
    "llama_cpp",
    "sklearn",
    "numpy",
    "typer",
    "rich",
}


def test_proto_is_ours_and_not_the_package_proto_plus():
    assert Path(proto.__file__).parent == ROOT / "proto"
    assert importlib.util.find_spec("proto.sealing") is not None
    assert importlib.util.find_spec("proto.marshal") is None


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_is_and_is_typed(name):
    package = importlib.import_module(name)
    assert package.__doc__
    assert Path(str(package.__file__)).parent == ROOT / name
    assert (ROOT / name / "py.typed").is_file()


@pytest.mark.parametrize("module", ["edge_client", "edge_client.agent"])
def test_the_boxs_daemon_loads_nothing_it_does_not_need_while_idle(module):
    code = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "edge_client" in loaded
    assert not loaded & HEAVY
