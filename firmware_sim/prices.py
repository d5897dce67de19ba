"""What an owner's sentence makes time, energy, metered bytes and fairness worth (objectives.toml).

A teacher has to be told; students read the sentence itself.
"""

from functools import cache
from importlib import resources

import msgspec
from msgspec import Struct

from proto.errors import ConfigError


class Prices(Struct, frozen=True, forbid_unknown_fields=True):
    """Exponents of a round's cost; they add up to 1."""

    time: float = 0.0
    energy: float = 0.0
    bytes: float = 0.0
    fairness: float = 0.0

    def __post_init__(self) -> None:
        if abs(self.time + self.energy + self.bytes + self.fairness - 1) > 1e-9:  # noqa: PLR2004
            raise ValueError("prices that do not add up to 1")


class Aim(Struct, frozen=True, forbid_unknown_fields=True):
    """One thing that owners want, in several wordings."""

    prices: Prices
    taught: tuple[str, ...]
    held_out: tuple[str, ...]


@cache
def aims() -> dict[str, Aim]:
    """All of objectives.toml by name."""
    text = resources.files(__package__).joinpath("objectives.toml").read_bytes()
    return msgspec.toml.decode(text, type=dict[str, Aim])


def prices_of(objective: str) -> Prices:
    """Raises ConfigError for a sentence whose prices nobody has set."""
    for aim in aims().values():
        if objective in aim.taught or objective in aim.held_out:
            return aim.prices
    raise ConfigError(
        f"work.objective is {objective!r}; a teacher knows those of firmware_sim/objectives.toml"
    )
