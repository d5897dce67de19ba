"""How a box knows its fleet's broker: by the fleet's root key, not by names or dates.

The root key signs nothing but this fleet's own broker, so the host name proves nothing more and
is not compared: a broker may change its address. Nor are dates, which a box without a battery for
its clock gets wrong.
"""

import socket
import ssl

from proto.errors import ConfigError, SealError, TransportError
from proto.identity import verify
from proto.reconnect import problem_words

_PROBE_S = 10.0
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module does not name."""


def pinned_context(ca_pem: str) -> ssl.SSLContext:
    """A TLS context that trusts what this authority signed, and that alone. Raises ConfigError."""
    context = _context()
    try:
        context.load_verify_locations(cadata=ca_pem)
    except (ssl.SSLError, ValueError):
        raise ConfigError(
            "The fleet's certificate is not readable; join the fleet again."
        ) from None
    return context


def foreign_trust(ca: str) -> ssl.SSLContext:
    """For a broker that is not the fleet's: by this CA file, else by the system's authorities."""
    try:
        return ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as problem:
        raise ConfigError(f"{ca} is no file of CA certificates in PEM: {problem}") from None


def first_contact(host: str, port: int, root_public_key: bytes) -> ssl.SSLContext:
    """A TLS context for a box that holds only the 32 public bytes of its fleet's root.

    Asks the broker for its certificate, makes sure that the root signed it, and trusts exactly
    that one. Raises SealError when the root did not, TransportError when nobody answers.
    """
    from cryptography import x509  # noqa: PLC0415 - needed once in a box's life

    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    encoded = _shown_certificate(host, port, where)
    try:
        leaf = x509.load_der_x509_certificate(encoded)
        verify(root_public_key, leaf.signature, leaf.tbs_certificate_bytes)
    except (ValueError, SealError):
        raise SealError(
            f"The broker at {where} does not belong to this fleet: the root key named in the token"
            " did not sign its certificate. Check that the token is the newest one; if it is,"
            " somebody may be listening in between."
        ) from None
    context = _context()
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(encoded))
    return context


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    return context


def _shown_certificate(host: str, port: int, where: str) -> bytes:
    """The certificate the broker shows, in DER, not yet trusted. Raises TransportError."""
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE
    try:
        plain = socket.create_connection((host, port), _PROBE_S)
    except (OSError, ValueError) as problem:
        raise TransportError(f"No broker: {problem_words(problem, where)}.") from None
    try:
        with plain, blind.wrap_socket(plain, server_hostname=host) as secured:
            shown = secured.getpeercert(binary_form=True)
    except (OSError, ValueError):
        raise TransportError(f"No TLS connection with {where}; is this its TLS port?") from None
    if shown is None:
        raise TransportError(f"{where} shows no certificate.")
    return shown
