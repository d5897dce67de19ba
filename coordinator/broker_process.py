"""A broker of our own as a child process: the one this machine has, or a packaged one."""

import atexit
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from coordinator.broker_child import IOTCORE
from coordinator.broker_config import (
    TlsFiles,
    iotcore_config,
    mosquitto_config,
    password_lines,
    rights,
)
from coordinator.patience import Patience
from proto.broker_url import BrokerUrl
from proto.errors import ConfigError, TransportError
from proto.files import write_whole

Kind = Literal["mosquitto", "iotcore"]

_LOOPBACK = "127.0.0.1"
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - recognised, never chosen
_CONNECT = b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x00"
_PROBE_S = 2.0
_STOP_S = 5.0
_LOOK_S = 0.02

# The kernel ends such a child when the *thread* that started it ends, so one thread, which lives
# as long as this process, starts them all.
_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="broker starter")


class BrokerProcess:
    """A running broker. It ends with this process, also by kill -9 (on Linux)."""

    def __init__(self, kind: Kind, url: BrokerUrl, home: Path, command: list[str]) -> None:
        self.kind = kind
        self.url = url
        self.home = home
        self._command = command
        self._process = self._launch()
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        return self._process.pid

    def poll(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it: politely, then not. Does nothing when it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(_STOP_S)
        atexit.unregister(self.stop)

    def restart(self) -> None:
        """Stop it if it runs, and start it again at the same address. Raises TransportError."""
        self.stop()
        self._process = self._launch()
        atexit.register(self.stop)

    def reload(self) -> None:
        """Have mosquitto read its password and rights files again; iotcore has none."""
        if self.kind == "mosquitto" and self.poll() is None:
            self._process.send_signal(signal.SIGHUP)

    def _launch(self) -> subprocess.Popen[bytes]:
        # "-P": a folder named as one of our packages must not be taken for it.
        wrapper = [sys.executable, "-P", "-m", "coordinator.broker_child", str(os.getpid())]
        with (self.home / "broker.out").open("wb") as output:
            process = _starter.submit(
                subprocess.Popen[bytes],
                [*wrapper, *self._command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            ).result()
        try:
            self._await_answer(process)
        except TransportError:
            process.kill()
            process.wait(_STOP_S)
            raise
        return process

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        patience = Patience(process.pid)
        while not patience.over:
            if process.poll() is not None:
                raise TransportError(f"The {self.kind} broker did not start: {self._last_words()}")
            if _answers(self.url):
                return
            time.sleep(_LOOK_S)
        raise TransportError(f"The {self.kind} broker does not answer: {self._last_words()}")

    def _last_words(self) -> str:
        texts = [
            file.read_text(errors="replace").strip()
            for name in ("broker.log", "broker.out")
            if (file := self.home / name).exists()
        ]
        return next((text[-500:] for text in texts if text), "it left no message.")


def start_broker(
    home: Path, kind: Literal["auto", "mosquitto", "iotcore"] = "auto", port: int = 0
) -> BrokerProcess:
    """Start a broker on loopback, its files in `home`, which keeps the port it was given first.

    Port 0 takes the kept one, or any free one. Raises ConfigError when no broker is installed or
    the port is taken, TransportError when the broker does not start.
    """
    chosen, program = _choose(kind)
    home = _prepare(home)
    port = _settle_port(home, port)
    config = home / ("mosquitto.conf" if chosen == "mosquitto" else "iotcore.toml")
    if chosen == "mosquitto":
        text = mosquitto_config(home, _LOOPBACK, port, as_root=os.geteuid() == 0)
        command = [program, "-c", str(config)]
    else:
        text = iotcore_config(port)
        command = [program, str(config)]
    write_whole(config, text.encode())
    return BrokerProcess(chosen, BrokerUrl(_LOOPBACK, port), home, command)


def secure_mosquitto(
    home: Path,
    address: str,
    port: int,
    certificate: tuple[bytes, bytes],
    accounts: Mapping[str, str],
) -> BrokerProcess:
    """Start mosquitto for other machines: TLS, a login for each box, each box its own topics.

    `certificate` is certificate and key in PEM, `accounts` maps user names to `hash_password`s.
    The URL of the result has no login. Raises ConfigError or TransportError.
    """
    _, program = _choose("mosquitto")
    home = _prepare(home)
    _check_free(address, port)
    files = TlsFiles(home / "server.crt", home / "server.key", home / "passwords", home / "rights")
    write_whole(files.certificate, certificate[0])
    write_whole(files.key, certificate[1])
    write_accounts(home, accounts)
    write_whole(files.rights, rights().encode())
    config = home / "mosquitto.conf"
    text = mosquitto_config(home, address, port, as_root=os.geteuid() == 0, tls=files)
    write_whole(config, text.encode())
    host = "localhost" if address in _EVERYWHERE else address
    url = BrokerUrl(host, port, tls=True)
    return BrokerProcess("mosquitto", url, home, [program, "-c", str(config)])


def write_accounts(home: Path, accounts: Mapping[str, str]) -> None:
    """Replace the password file; `BrokerProcess.reload` makes it count. Raises ConfigError."""
    write_whole(home / "passwords", password_lines(accounts).encode())


def _answers(url: BrokerUrl) -> bool:
    """Whether a broker answers CONNECT, be it with a refusal.

    A port that merely listens proves little: mosquitto opens it before it reads its certificate.
    """
    with suppress(OSError), socket.create_connection((url.host, url.port), _PROBE_S) as plain:
        link: socket.socket = plain
        if url.tls:
            blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            blind.check_hostname = False
            blind.verify_mode = ssl.CERT_NONE
            link = blind.wrap_socket(plain)
        with link:
            link.sendall(_CONNECT)
            return bool(link.recv(1))
    return False


def _choose(kind: Literal["auto", "mosquitto", "iotcore"]) -> tuple[Kind, str]:
    """The broker to run, and the program that is it. Raises ConfigError saying what to install."""
    if kind in {"auto", "mosquitto"}:
        path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
        if program := shutil.which("mosquitto", path=path):
            return "mosquitto", program
        if kind == "mosquitto":
            raise ConfigError(
                "mosquitto is not installed; on Debian and Raspberry Pi OS: apt install mosquitto"
            )
    if find_spec("iotcore") is None:
        raise ConfigError("No broker is installed; run: pip install 'qfleet[coordinator]'")
    return "iotcore", IOTCORE


def _prepare(home: Path) -> Path:
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as problem:
        raise ConfigError(
            f"The broker's folder {home} cannot be made: {problem.strerror}"
        ) from None
    return home.resolve()


def _settle_port(home: Path, port: int) -> int:
    kept = home / "port"
    if port == 0 and kept.exists():
        text = kept.read_text().strip()
        if not text.isdecimal():
            raise ConfigError(f"{kept} should hold the broker's port; delete it to get a new one.")
        port = int(text)
    _check_free(_LOOPBACK, port)
    if port == 0:
        with socket.create_server((_LOOPBACK, 0)) as probe:
            port = probe.getsockname()[1]
    write_whole(kept, f"{port}\n".encode())
    return port


def _check_free(address: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.create_server((address, port), family=family).close()
    except OSError as problem:
        raise ConfigError(
            f"{address} port {port} cannot be used: {problem.strerror}; choose another one."
        ) from None
