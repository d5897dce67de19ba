"""What the kernel knows of a TCP connection: how fast it carried, how much it sent again."""

import socket
import struct
import sys
from typing import NamedTuple

_LENGTH = 168
_COUNT = struct.Struct("=I")
_AT_RETRANSMITTED, _AT_SENT, _AT_RATE = 100, 136, 160
"""Offsets in `struct tcp_info` of linux/tcp.h: tcpi_total_retrans, tcpi_segs_out,
tcpi_delivery_rate. The kernel only ever appends to it; the last is there since Linux 4.9."""
_RATE = struct.Struct("=Q")
_FEW = 20
"""Packets below which a share says nothing."""


class Link(NamedTuple):
    """Of one connection, from its start. None where the system does not tell."""

    kbps: int | None = None
    """Upwards. As little was sent, so little is known: the link can do at least this."""
    loss_percent: int | None = None


def link_of(connection: socket.socket | None) -> Link:
    """What is known of this connection now; nothing of a closed one, or on another system."""
    if connection is None or sys.platform != "linux":
        return Link()
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    except OSError:
        return Link()
    if len(info) < _LENGTH:
        return Link()
    (again,) = _COUNT.unpack_from(info, _AT_RETRANSMITTED)
    (sent,) = _COUNT.unpack_from(info, _AT_SENT)
    (rate,) = _RATE.unpack_from(info, _AT_RATE)
    loss = min(100, round(100 * again / sent)) if sent >= _FEW else None
    return Link(min(rate * 8 // 1000, 2**31) or None, loss)
