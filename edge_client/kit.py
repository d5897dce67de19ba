"""What a box process is made of beside its loop: what it keeps, whom it trusts, how it seals."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_client.allegiance import Allegiance
from edge_client.fetching import Pantry
from edge_client.membership import Membership
from edge_client.newest import Newest, keep
from edge_client.secure import Secure
from edge_client.spool import Spool
from edge_client.tasks import Tasks
from proto.identity import Identity


@dataclass(frozen=True, slots=True)
class Kit:
    """One box's belongings. In the field all of it is on disk; an emulated box may hold less."""

    allegiance: Allegiance
    secure: Secure
    spool: Spool
    pantry: Pantry
    tasks: Tasks
    keep: Callable[[str, Newest], None]
    """Of a job's name and its newest model: write it down for prediction."""


def on_disk(
    home: Path, member: Membership, identity: Identity, clock: Callable[[], float]
) -> Kit:
    """What a joined box keeps in its folder. Raises StorageError. `clock`: seconds since 1970."""
    return Kit(
        allegiance=Allegiance(home, member, clock),
        secure=Secure(identity),
        spool=Spool(home),
        pantry=Pantry(home / "blobs"),
        tasks=Tasks(member.fleet),
        keep=partial(keep, home),
    )
