"""The page of commands is what the commands say of themselves."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent.parent / "scripts" / "write_cli_docs.py"


def test_the_page_of_commands_is_up_to_date():
    words = [sys.executable, str(SCRIPT), "--check"]
    found = subprocess.run(words, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
