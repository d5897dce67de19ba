"""Looks a coordinator and its machine over; each finding says what to do."""

import fcntl
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import proto
from coordinator.keys import read_keys
from coordinator.operate import fleet_name, open_store
from proto.errors import QfleetError

MIN_DISK_MIB = 200


def examine(home: Path) -> list[dict[str, Any]]:
    """Findings: what was looked at, whether it is well, and what to do if not."""
    return [
        _proto_is_ours(),
        _broker(),
        _disk(home),
        _running(home),
        *_folder(home),
    ]


def _finding(what: str, advice: str, *, ok: bool) -> dict[str, Any]:
    return {"what": what, "ok": ok, "advice": "" if ok else advice}


def _proto_is_ours() -> dict[str, Any]:
    ok = find_spec("proto.messages") is not None
    advice = "proto-plus is installed here and hides it: use a virtual environment of its own"
    return _finding(f"the package proto is Qfleet's ({proto.__file__})", advice, ok=ok)


def _broker() -> dict[str, Any]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin"
    found = shutil.which("mosquitto", path=path)
    if found:
        return _finding(f"mosquitto is installed ({found})", "", ok=True)
    ok = find_spec("iotcore") is not None
    text = "mosquitto is not installed; iotcore serves on loopback only"
    return _finding(text, "apt install mosquitto", ok=ok)


def _disk(home: Path) -> dict[str, Any]:
    place = home if home.exists() else Path.home()
    free = shutil.disk_usage(place).free // 2**20
    return _finding(f"{free} MiB free on the disk", "make room", ok=free >= MIN_DISK_MIB)


def _running(home: Path) -> dict[str, Any]:
    path = home / "lock"
    running = False
    if path.exists():
        with path.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                running = True
    return _finding("a coordinator is running here", "run `coordinator start`", ok=running)


def _folder(home: Path) -> list[dict[str, Any]]:
    try:
        store = open_store(home)
        keys = read_keys(home, fleet_name(store))
    except QfleetError as error:
        return [_finding(f"store and keys in {home}", str(error), ok=False)]
    exposed = [p.name for p in home.iterdir() if p.is_file() and p.stat().st_mode & 0o077]
    secret = [name for name in exposed if name != "lock"]
    return [
        _finding(f"store and keys of fleet {keys.record.fleet}", "", ok=True),
        _finding("only the owner can read them", f"chmod 600 {' '.join(secret)}", ok=not secret),
    ]
