import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from coordinator.tls import ca_certificate, server_certificate
from proto.errors import ConfigError

NOW = 1_800_000_000.0
YEAR = 365 * 86400
ROOT = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
CA = ca_certificate(ROOT, "fleet", NOW)


def leaf(*hosts: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(server_certificate(ROOT, CA, hosts, NOW)[0])


def test_the_authority_is_the_root_key_itself() -> None:
    assert CA.public_key() == ROOT.public_key()
    CA.verify_directly_issued_by(CA)


def test_the_server_is_vouched_for_by_the_root() -> None:
    leaf("localhost").verify_directly_issued_by(CA)


def test_an_authority_made_again_later_still_vouches() -> None:
    leaf("localhost").verify_directly_issued_by(ca_certificate(ROOT, "fleet", NOW + 5 * YEAR))


def test_names_and_addresses_are_told_apart() -> None:
    names = leaf("pi.local", "192.168.1.7", "::1", "bücher.example").extensions
    san = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert san.get_values_for_type(x509.DNSName) == ["pi.local", "xn--bcher-kva.example"]
    assert [str(a) for a in san.get_values_for_type(x509.IPAddress)] == ["192.168.1.7", "::1"]


def test_a_clock_that_is_wrong_by_a_year_does_not_matter() -> None:
    certificate = leaf("localhost")
    assert certificate.not_valid_before_utc.timestamp() < NOW - YEAR
    assert certificate.not_valid_after_utc.timestamp() > NOW + 10 * YEAR


def test_a_server_may_not_vouch_for_others() -> None:
    constraints = leaf("localhost").extensions.get_extension_for_class(x509.BasicConstraints)
    assert not constraints.value.ca


@pytest.mark.parametrize("hosts", [[], ["a b"], ["a..b"], [""], ["x" * 80]])
def test_what_is_no_host_is_refused(hosts: list[str]) -> None:
    with pytest.raises(ConfigError, match="host"):
        server_certificate(ROOT, CA, hosts, NOW)


def test_python_can_serve_with_it(tmp_path) -> None:
    certificate, key = server_certificate(ROOT, CA, ["localhost"], NOW)
    (tmp_path / "both.pem").write_bytes(certificate + key)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "both.pem")
