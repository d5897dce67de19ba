"""What a box tells of itself: the board's numbers, its operator's note, its journal's tail."""

from typing import Annotated

from msgspec import Meta, Struct

Small = Annotated[int, Meta(ge=0, le=2**31)]
Percent = Annotated[int, Meta(ge=0, le=100)]
JournalLine = Annotated[str, Meta(max_length=160, pattern=r"^[ -~]*\Z")]
"""One line of a box's journal in printable ASCII, as its redaction leaves it."""
MAX_JOURNAL = 6


class Resources(
    Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True, gc=False
):
    """What a report says of the board, part of a message; None where the board does not tell."""

    battery: Percent | None = None
    charging: bool | None = None
    ram_free_mib: Small | None = None
    cpu_load: Percent | None = None
    temperature_c: Annotated[int, Meta(ge=-100, le=300)] | None = None
    disk_free_mib: Small | None = None
    note: Annotated[str, Meta(max_length=200)] = ""
    """What the box's operator wants the coordinator to know."""
    link_kbps: Small | None = None
    """What the connection to the broker has carried upwards of late: the link can do this much."""
    link_loss: Percent | None = None
    """Share of this connection's packets that had to be sent again."""
    qpu_queue_s: Small | None = None
    """Seconds the box's last job waited in its quantum computer's queue."""
    journal: Annotated[tuple[JournalLine, ...], Meta(max_length=MAX_JOURNAL)] = ()
    """The newest lines of the units its owner lets out, redacted, the newest first."""
