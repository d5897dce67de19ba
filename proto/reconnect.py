"""When to try the broker again, and how to say in words why it is out of reach."""

import random
import socket
import ssl
from collections.abc import Callable

TAKEN_OVER = 0x8E
"""The MQTT 5 reason code of a session that another connection took."""

_RANDOM = random.SystemRandom()
_STABLE_S = 30.0

_REFUSALS = {
    0x84: "the broker does not speak MQTT 5; use mosquitto 2, EMQX 5, HiveMQ or the embedded one",
    0x85: "the broker does not accept this client id",
    0x86: "the broker refused the login; check the user name and password",
    0x87: "the broker refused the login; check user name and password, and that it is not revoked",
    0x8B: "the broker is shutting down",
    0x8D: "the broker heard nothing for too long",
    0x8E: "another client with the same id has connected; only one copy of a box may run",
    0x95: "the broker found a packet too large",
    0x9B: "the broker does not offer QoS 1",
}


class Backoff:
    """Seconds to wait before the next attempt: doubling, and jittered so that a fleet spreads."""

    def __init__(
        self,
        first_s: float,
        longest_s: float,
        uniform: Callable[[float, float], float] = _RANDOM.uniform,
    ) -> None:
        self._uniform = uniform
        self._first_s = first_s
        self._longest_s = longest_s
        self._step_s = first_s

    def after(self, lasted_s: float, *, taken_over: bool = False) -> float:
        """Seconds to wait after a connection of `lasted_s` seconds (0 when there was none).

        A broker that accepts and drops at once does not reset the doubling. Two copies with one
        id would throw each other out for ever, so a taken-over one waits the longest.
        """
        if lasted_s >= min(_STABLE_S, self._longest_s):
            self._step_s = self._first_s
        wait = self._longest_s if taken_over else self._step_s
        self._step_s = min(self._step_s * 2, self._longest_s)
        return wait * self._uniform(0.5, 1.0)


def refusal_words(code: int, name: str) -> str:
    """An MQTT 5 reason code as a sentence a person can act on."""
    return f"{_REFUSALS.get(code, f'the broker said: {name}')} (0x{code:02X})"


def problem_words(problem: Exception, address: str) -> str:
    """Why a connection to `address` could not be made, as a sentence."""
    if isinstance(problem, ssl.SSLCertVerificationError):
        words = f"the certificate of {address} is not trusted: {problem.verify_message}"
    elif isinstance(problem, ssl.SSLError):
        words = f"no TLS connection with {address}: {problem.reason}; is this its TLS port?"
    elif isinstance(problem, socket.gaierror):
        words = f"the name in {address} is not known: {problem.strerror}"
    elif isinstance(problem, ConnectionRefusedError):
        words = f"nothing listens at {address}"
    elif isinstance(problem, TimeoutError):
        words = f"{address} does not answer"
    else:
        words = f"{address} cannot be reached: {getattr(problem, 'strerror', None) or problem}"
    return words
