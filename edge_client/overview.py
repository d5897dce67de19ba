"""What `edge-client status` and `doctor` tell."""

import shutil
from importlib.util import find_spec
from typing import Any

import msgspec

import proto
from edge_client import config, readings
from edge_client.journal_tail import tail
from edge_client.membership import load_member, load_memory
from edge_client.spool import look_at
from proto.broker_url import BrokerUrl
from proto.errors import QfleetError
from proto.identity import fingerprint

MIN_DISK_MIB = 100


def overview(home: str | None) -> dict[str, Any]:
    """Where the box belongs and what it holds. Raises ConfigError where it has not joined."""
    folder = config.home_of(home)
    member, identity = load_member(folder)
    memory, settings = load_memory(folder), config.load(folder)
    held = look_at(folder)
    models = sorted(path.stem for path in (folder / "models").glob("*.model"))
    return {
        "box": member.box,
        "fleet": member.fleet,
        "broker": str(BrokerUrl.parse(member.url)),
        "key": fingerprint(identity.public),
        "root": fingerprint(member.root),
        "data": settings.data.source or None,
        "starts": memory.session,
        "era": held.seen.era.number if held.seen.era else None,
        "turns": dict(held.seen.turns),
        "outbox": len(held.updates),
        "models": models,
    }


def report_now(home: str | None) -> dict[str, Any]:
    """The resource report exactly as it leaves the box.

    Save what only the running agent knows of its connection: link_kbps and link_loss are None here.
    """
    folder = config.home_of(home)
    settings = config.load(folder)
    report = readings.read(folder, settings.note, tail(settings.journal))
    return msgspec.structs.asdict(report)


def examine(home: str | None) -> list[dict[str, Any]]:
    """Findings: what was looked at, whether it is well, and what to do if not."""
    folder = config.home_of(home)
    found = find_spec("proto.messages") is not None
    free = shutil.disk_usage(folder if folder.exists() else "/").free // 2**20
    findings = [
        _finding(f"the package proto is Qfleet's ({proto.__file__})", "use a fresh venv", ok=found),
        _finding(f"{free} MiB free on the disk", "make room", ok=free >= MIN_DISK_MIB),
    ]
    try:
        about = overview(home)
        findings.append(_finding(f"{about['box']} belongs to {about['fleet']}", "", ok=True))
        advice = f"name your rows in {folder / 'edge.toml'}: [data] source"
        findings.append(_finding("data is set", advice, ok=about["data"] is not None))
    except QfleetError as error:
        findings.append(_finding(f"the box's folder {folder}", str(error), ok=False))
    return findings


def _finding(what: str, advice: str, *, ok: bool) -> dict[str, Any]:
    return {"what": what, "ok": ok, "advice": "" if ok else advice}
