"""An update larger than one publish: cut into pieces by the box, put together by the coordinator.

What has come is held in memory alone: after a restart, or when a pile had to make room, the box
finds no ack and sends all pieces again.
"""

from dataclasses import dataclass, field

from proto.codec import MAX_WHOLE, decode_update, encode
from proto.errors import RemoteError
from proto.messages import MAX_UPDATE, Piece, Update

MAX_HELD = 128 * 2**20
"""Bytes of all unfinished updates together."""


def letters(update: Update) -> tuple[Update, ...] | tuple[Piece, ...]:
    """What to send: the update itself, or its pieces."""
    if len(update.payload) <= MAX_UPDATE:
        return (update,)
    data = encode(update)
    cuts = range(0, len(data), MAX_UPDATE)
    return tuple(
        Piece(
            id=update.id,
            turn=update.turn,
            index=index,
            count=len(cuts),
            data=data[at : at + MAX_UPDATE],
        )
        for index, at in enumerate(cuts)
    )


@dataclass(slots=True)
class _Pile:
    id: bytes
    count: int
    parts: dict[int, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(map(len, self.parts.values()))


class Piles:
    """Unfinished updates, one for each box; of many, those that waited longest make room."""

    def __init__(self) -> None:
        self._piles: dict[str, _Pile] = {}

    def add(self, box: str, piece: Piece) -> Update | None:
        """One more piece; the update once it is whole. Raises RemoteError for one that is none."""
        pile = self._piles.pop(box, None)
        if pile is None or (pile.id, pile.count) != (piece.id, piece.count):
            pile = _Pile(piece.id, piece.count)
        if piece.index >= piece.count:
            raise RemoteError(f"piece {piece.index} of {piece.count}")
        pile.parts[piece.index] = piece.data
        if pile.size > MAX_WHOLE:
            raise RemoteError(f"an update of more than {MAX_WHOLE} bytes")
        if len(pile.parts) < pile.count:
            self._piles[box] = pile
            self._make_room()
            return None
        update = decode_update(b"".join(pile.parts[i] for i in range(pile.count)))
        if (update.id, update.turn) != (piece.id, piece.turn):
            raise RemoteError("pieces of another update than they say")
        return update

    def drop(self, box: str) -> None:
        """Forget what has come from a box."""
        self._piles.pop(box, None)

    def _make_room(self) -> None:
        while sum(pile.size for pile in self._piles.values()) > MAX_HELD:
            del self._piles[next(iter(self._piles))]
