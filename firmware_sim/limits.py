"""A board's limits for a real process: CPU and memory by control groups, links by namespaces.

cgroup v2 where its controllers are to be had, else v1; a network namespace of its own for each box,
with netem for rate, delay and loss, or only a rate where this kernel lacks netem. What the machine
does not allow is said in words, and the fleet runs without it.
"""

import errno
import logging
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from proto.errors import LocalError

PERIOD_US = 400_000
"""A process that runs and pauses in turns works with cold caches after each pause: the shorter the
turns, the more of its quota that takes. A tenth of a core at 100 ms needed a quarter more CPU."""
MIB = 2**20
GROUPS = Path("/sys/fs/cgroup")
REMOVE_S, LOOK_S = 2.0, 0.02
"""How long a group may be busy once its processes are gone, and between two tries."""
HOST = "10.213.77.1"
"""This machine's own address on the bridge between the boxes' namespaces."""

logger = logging.getLogger(__name__)


class Limit(NamedTuple):
    """What one box may use."""

    cores: float
    memory_mib: int
    up_mbps: float = 0.0
    """0 for a link that is not limited."""
    down_mbps: float = 0.0
    delay_s: float = 0.0
    loss: float = 0.0


class Group:
    """One control group, under v2 or under v1's two hierarchies."""

    def __init__(self, folders: dict[str, Path], *, unified: bool) -> None:
        self._folders, self._unified = folders, unified

    def limit(self, limit: Limit) -> None:
        quota = max(1000, round(limit.cores * PERIOD_US))
        memory = str(limit.memory_mib * MIB)
        if self._unified:
            folder = self._folders["unified"]
            (folder / "cpu.max").write_text(f"{quota} {PERIOD_US}")
            (folder / "memory.max").write_text(memory)
            with suppress(OSError):  # not everywhere, and then there is no swap to keep from
                (folder / "memory.swap.max").write_text("0")
            return
        (self._folders["cpu"] / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self._folders["cpu"] / "cpu.cfs_quota_us").write_text(str(quota))
        (self._folders["memory"] / "memory.limit_in_bytes").write_text(memory)

    def take(self, pid: int) -> None:
        """Put a process in; its children come into it by themselves."""
        for folder in self._folders.values():
            (folder / "cgroup.procs").write_text(str(pid))

    def leave(self, pid: int, home: dict[str, str]) -> None:
        """Put a process back where it was: `home` is its group in each hierarchy."""
        for kind in self._folders:
            path = home.get("" if self._unified else kind, "/").strip("/")
            root = GROUPS if self._unified or kind == "unified" else GROUPS / kind
            (root / path / "cgroup.procs").write_text(str(pid))

    def killed(self) -> int:
        """How often the system ended a process in here for want of memory."""
        folder = self._folders["unified" if self._unified else "memory"]
        name = "memory.events" if self._unified else "memory.oom_control"
        words = (folder / name).read_text().split()
        return int(words[words.index("oom_kill") + 1]) if "oom_kill" in words else 0

    def remove(self) -> None:
        """Of a group whose processes have ended; the kernel may count them for a moment longer."""
        deadline = time.monotonic() + REMOVE_S
        for folder in self._folders.values():
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        logger.warning("a control group is left behind: %s", error)
                        break
                    time.sleep(LOOK_S)


def group(name: str) -> Group:
    """A new control group. Raises LocalError that says why there can be none."""
    own = _own()
    try:
        if (unified := _unified(own)) is not None:
            folder = unified / name
            folder.mkdir()
            return Group({"unified": folder}, unified=True)
        # Within the groups this process is in, so that whoever limits us limits the boxes as well.
        folders = {kind: GROUPS / kind / own[kind].strip("/") / name for kind in ("cpu", "memory")}
        for folder in folders.values():
            folder.mkdir()
    except KeyError as error:
        raise LocalError(f"no cgroup controller for {error.args[0]} on this machine") from None
    except OSError as error:
        raise LocalError(f"no control group can be made here: {error}") from None
    return Group(folders, unified=False)


@contextmanager
def under(name: str, limit: Limit) -> Iterator[None]:
    """This process under a limit, for a while. Raises LocalError where there can be none."""
    home, one = _own(), group(name)
    try:
        one.limit(limit)
        one.take(os.getpid())
        yield
    finally:
        one.leave(os.getpid(), home)
        one.remove()


def _own() -> dict[str, str]:
    """This process's group in each hierarchy."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        _, kinds, path = line.split(":", 2)
        found |= dict.fromkeys(kinds.split(","), path)
    return found


def _unified(own: dict[str, str]) -> Path | None:
    """A v2 folder whose children may be limited in CPU and memory."""
    wanted = {"cpu", "memory"}
    for folder in (GROUPS, GROUPS / own.get("", "/").strip("/")):
        try:
            if not wanted <= set((folder / "cgroup.controllers").read_text().split()):
                continue
            if not wanted <= set((folder / "cgroup.subtree_control").read_text().split()):
                (folder / "cgroup.subtree_control").write_text("+cpu +memory")
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return folder
    return None


# --- links ----------------------------------------------------------------------------------------


class Network:
    """A bridge on this machine, and a namespace behind it for each box."""

    def __init__(self, name: str) -> None:
        """Raises LocalError that says why there can be none."""
        self._name, self._spaces = name[:8], list[str]()
        for tool in ("ip", "tc"):
            if shutil.which(tool) is None:
                raise LocalError(f"no {tool} here: links are not limited (apt install iproute2)")
        self._do("ip", "link", "add", self._name, "type", "bridge")
        self._do("ip", "addr", "add", f"{HOST}/24", "dev", self._name)
        self._do("ip", "link", "set", self._name, "up")
        self.netem = self._has_netem()

    def box(self, number: int, limit: Limit) -> list[str]:
        """The words before a command that put it into box `number`'s namespace, with its link."""
        space, outer, inner = (f"{self._name}{part}{number}" for part in ("n", "o", "i"))
        self._do("ip", "netns", "add", space)
        self._spaces.append(space)
        self._do("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
        self._do("ip", "link", "set", inner, "netns", space)
        self._do("ip", "link", "set", outer, "master", self._name, "up")
        within = ["ip", "netns", "exec", space]
        address = HOST.rsplit(".", 1)[0] + f".{number + 1}/24"
        self._do(*within, "ip", "addr", "add", address, "dev", inner)
        for device in ("lo", inner):
            self._do(*within, "ip", "link", "set", device, "up")
        self._shape([], outer, limit.down_mbps, limit)
        self._shape(within, inner, limit.up_mbps, limit)
        return within

    def close(self) -> None:
        for space in self._spaces:
            self._try("ip", "netns", "del", space)
        self._try("ip", "link", "del", self._name)

    def _shape(self, within: list[str], device: str, mbps: float, limit: Limit) -> None:
        if not mbps:
            return
        rate = f"{max(8.0, mbps * 1000):.0f}kbit"
        start = [*within, "tc", "qdisc", "add", "dev", device, "root"]
        if self.netem:
            delay = f"{limit.delay_s * 1000:.1f}ms"
            words = ["netem", "rate", rate, "delay", delay, "loss", f"{limit.loss * 100:.3f}%"]
        else:
            words = ["tbf", "rate", rate, "burst", "16kb", "latency", "2s"]
        self._do(*start, *words)

    def _has_netem(self) -> bool:
        space = f"{self._name}p"
        self._do("ip", "netns", "add", space)
        words = ("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
        found = self._try("ip", "netns", "exec", space, *words)
        self._try("ip", "netns", "del", space)
        return found

    def _do(self, *words: str) -> None:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            self.close()
            raise LocalError(f"links are not limited: {' '.join(words)}: {done.stderr.strip()}")

    def _try(self, *words: str) -> bool:
        return subprocess.run(words, capture_output=True, check=False).returncode == 0


@contextmanager
def network(name: str) -> Iterator[tuple[Network | None, str]]:
    """A network and what it lacks in words; or none, and why."""
    try:
        net = Network(name)
    except LocalError as error:
        yield None, str(error)
        return
    try:
        yield net, "" if net.netem else "no delay and no loss: this kernel has no netem"
    finally:
        net.close()
