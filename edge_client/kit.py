"""What a box process is made of beside its loop: what it keeps, whom it trusts, how it seals."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge_client.allegiance import Allegiance
from edge_client.fetching import Pantry
from edge_client.membership import Membership
from edge_client.newest import Keeper
from edge_client.secure import Secure
from edge_client.spool import Spool
from edge_client.tasks import Tasks
from proto.identity import Identity

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Kit:
    """One box's belongings. In the field all of it is on disk; an emulated box may hold less."""

    allegiance: Allegiance
    secure: Secure
    spool: Spool
    pantry: Pantry
    tasks: Tasks
    newest: Keeper


def on_disk(member: Membership, identity: Identity, home: Path, clocks: tuple[Clock, Clock]) -> Kit:
    """What a joined box keeps in its folder. Raises StorageError.

    The clocks: seconds since 1970, and one that never runs backwards.
    """
    since_1970, now = clocks
    return Kit(
        allegiance=Allegiance(home, member, since_1970),
        secure=Secure(identity),
        spool=Spool(home),
        pantry=Pantry(home / "blobs"),
        tasks=Tasks(member.fleet),
        newest=Keeper(home, now),
    )
