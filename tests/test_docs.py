"""The documentation says what the code does."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"


def test_the_state_pictures_are_those_of_the_tables():
    command = [sys.executable, str(ROOT / "scripts" / "draw_tables.py"), "--check"]
    subprocess.run(command, check=True, timeout=60)


def test_every_module_and_function_the_architecture_names_exists():
    text = PAGE.read_text(encoding="utf-8")
    modules = re.findall(r"`((?:\w+/)+\w+\.py)`", text)
    assert len(modules) > 20
    for module in modules:
        assert (ROOT / module).is_file(), module
    for row in re.findall(r"^\| \w+ \| (`.*) \| (`.*\.py`) \|$", text, re.MULTILINE):
        source = "".join((ROOT / m).read_text() for m in re.findall(r"`(.*?)`", row[1]))
        for name in re.findall(r"`([\w.]+)`", row[0]):
            assert f"def {name.split('.')[-1]}(" in source, name
