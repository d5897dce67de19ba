"""Certificates for a broker of our own; the fleet's root key is the authority.

A box that knows the root's 32 public bytes can tell its broker from any other. Dates are wide,
because the clock of a box without a battery may be years off.
"""

import datetime as dt
import re
from collections.abc import Sequence
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from proto.errors import ConfigError

_BACK = dt.timedelta(days=2 * 365)
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_])?")
_FORTH = dt.timedelta(days=20 * 365)


def ca_certificate(root_key: Ed25519PrivateKey, fleet: str, now: float) -> x509.Certificate:
    """The root key's own certificate; `now` in seconds since the epoch.

    Made again at any time, it still vouches for what an earlier one vouched for.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"qfleet {fleet}")])
    public = root_key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        _dated(now)
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(root_key, None)
    )


def server_certificate(
    root_key: Ed25519PrivateKey, ca: x509.Certificate, hosts: Sequence[str], now: float
) -> tuple[bytes, bytes]:
    """A broker's certificate and its new P-256 key, both as PEM.

    `hosts` are the names and IP addresses it goes by. Raises ConfigError for one that is neither.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    certificate = (
        _dated(now)
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "qfleet broker")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_names(hosts)), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(authority, critical=False)
        .sign(root_key, None)
    )
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return certificate.public_bytes(Encoding.PEM), pem


def _dated(now: float) -> x509.CertificateBuilder:
    moment = dt.datetime.fromtimestamp(int(now), dt.UTC)
    return (
        x509.CertificateBuilder()
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _BACK)
        .not_valid_after(moment + _FORTH)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    if not hosts:
        raise ConfigError("A server certificate needs at least one host name or address.")
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            names.append(_dns_name(host))
    return names


def _dns_name(host: str) -> x509.DNSName:
    try:
        name = host.encode("idna").decode("ascii")
    except ValueError:
        name = ""
    if not _HOST.fullmatch(name):
        raise ConfigError(f"'{host}' is neither a host name nor an IP address.")
    return x509.DNSName(name)
