import pytest

from proto.broker_url import BrokerUrl
from proto.errors import ConfigError


def test_host_and_port_are_read() -> None:
    assert BrokerUrl.parse("mqtt://pi.local:1884") == BrokerUrl("pi.local", 1884)


def test_ports_have_their_usual_defaults() -> None:
    assert BrokerUrl.parse("mqtt://h").port == 1883
    assert BrokerUrl.parse("mqtts://h") == BrokerUrl("h", 8883, tls=True)


def test_a_login_may_be_percent_encoded() -> None:
    url = BrokerUrl.parse("mqtts://us%40er:p%3Aw@h")
    assert (url.username, url.password) == ("us@er", "p:w")


def test_an_ipv6_address_keeps_its_brackets_in_text_only() -> None:
    url = BrokerUrl.parse("mqtt://[::1]:1884")
    assert (url.host, url.address, str(url)) == ("::1", "[::1]:1884", "mqtt://[::1]:1884")


def test_no_text_of_it_shows_the_password() -> None:
    url = BrokerUrl.parse("mqtts://user:hunter2@h:1")
    assert "hunter2" not in f"{url} {url!r}"
    assert str(url) == "mqtts://user@h:1"


def test_what_it_prints_it_reads() -> None:
    url = BrokerUrl("h", 1884, tls=True, username="a b")
    assert BrokerUrl.parse(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pi.local",
        "pi.local:1883",
        "http://h",
        "mqtt://",
        "mqtt://:1883",
        "mqtt://h:0",
        "mqtt://h:99999",
        "mqtt://h:port",
        "mqtt://h/path",
        "mqtt://h?x=1",
        "mqtt://:secret@h",
        "mqtt://user:secret@[h",
        "mqtt://user:secret@h:port",
    ],
)
def test_anything_else_is_refused_with_what_would_do_and_no_secret(text: str) -> None:
    with pytest.raises(ConfigError, match=r"mqtt://HOST\[:PORT\]") as refusal:
        BrokerUrl.parse(text)
    assert "secret" not in str(refusal.value)
