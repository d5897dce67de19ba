import base64
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from coordinator.broker_config import (
    TlsFiles,
    hash_password,
    iotcore_config,
    mosquitto_config,
    password_lines,
    rights,
)
from proto.errors import ConfigError
from proto.transport import MAX_PAYLOAD

HOME = Path("/srv/qfleet/broker")


def settings(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines())


def test_without_tls_mosquitto_listens_where_it_is_told_to_and_asks_nobody() -> None:
    config = settings(mosquitto_config(HOME, "127.0.0.1", 1884, as_root=False))
    assert config["listener"] == "1884 127.0.0.1"
    assert config["allow_anonymous"] == "true"
    assert config["set_tcp_nodelay"] == "true"
    assert config["persistence_location"] == "/srv/qfleet/broker/"
    assert int(config["message_size_limit"]) >= MAX_PAYLOAD
    assert "user" not in config


def test_only_a_mosquitto_run_by_root_stays_root() -> None:
    assert settings(mosquitto_config(HOME, "127.0.0.1", 1884, as_root=True))["user"] == "root"


def test_with_tls_everybody_must_log_in() -> None:
    files = TlsFiles(HOME / "c", HOME / "k", HOME / "p", HOME / "r")
    config = settings(mosquitto_config(HOME, "0.0.0.0", 8883, as_root=False, tls=files))
    assert config["allow_anonymous"] == "false"
    assert config["password_file"] == str(HOME / "p")
    assert config["acl_file"] == str(HOME / "r")
    assert config["certfile"] == str(HOME / "c")


def test_a_path_that_would_add_a_line_is_refused() -> None:
    with pytest.raises(ConfigError, match="configuration"):
        mosquitto_config(Path("/srv/x\nallow_anonymous true"), "127.0.0.1", 1, as_root=False)


def test_iotcore_listens_on_loopback_only_and_keeps_little() -> None:
    config = tomllib.loads(iotcore_config(1884))
    assert config["v5"]["1"]["listen"] == "127.0.0.1:1884"
    assert config["v5"]["1"]["connections"]["max_payload_size"] >= MAX_PAYLOAD
    assert config["v5"]["1"]["connections"]["dynamic_filters"]
    router = config["router"]
    assert router["max_segment_size"] * router["max_segment_count"] <= 16 * 2**20
    assert "v4" not in config


def test_no_right_is_given_to_all_that_writes() -> None:
    patterns = [line for line in rights().splitlines() if line.startswith("pattern")]
    assert all("%u" in line for line in patterns if "write" in line)


def test_a_password_is_hashed_as_mosquitto_does(tmp_path: Path) -> None:
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("mosquitto_passwd is not installed")
    file = tmp_path / "passwords"
    subprocess.run([program, "-c", "-b", file, "box", "hunter2"], check=True)
    written = file.read_text().strip()
    _, _, iterations, salt, _ = written.split("$")
    expected = hash_password("hunter2", base64.b64decode(salt), int(iterations))
    assert password_lines({"box": expected}).strip() == written


def test_salts_that_mosquitto_does_not_take_are_refused() -> None:
    with pytest.raises(ConfigError, match="12 bytes"):
        hash_password("x", b"short")


@pytest.mark.parametrize(
    ("name", "hashed"),
    [("a:b", "$7$"), ("a\nb", "$7$"), ("", "$7$"), ("a", "plain"), ("a", "$7$\n")],
)
def test_accounts_that_would_break_their_line_are_refused(name: str, hashed: str) -> None:
    with pytest.raises(ConfigError):
        password_lines({name: hashed})
