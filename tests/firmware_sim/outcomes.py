"""Results as an engine would return them, made by hand for what reads results."""

from firmware_sim.outcome import Result, RoundOutcome

CLIENTS = 20


def outcome(turn: int, **changes: object) -> RoundOutcome:
    """A round of ten minutes in which ten of ten were included."""
    first = turn % CLIENTS + 1
    asked = tuple(sorted((first + n) % CLIENTS + 1 for n in range(10)))
    plain = {
        "turn": turn,
        "round": turn,
        "kind": "train",
        "outcome": "done",
        "opened_s": 600.0 * (turn - 1),
        "closed_s": 600.0 * turn,
        "asked": asked,
        "included": asked,
        "bytes_up": 4000,
        "bytes_down": 6000,
        "energy_j": 1000.0,
        "idle_j": 50.0,
        "wasted_j": 100.0,
        "wasted_bytes": 400,
        "accuracy": min(0.95, 0.5 + 0.05 * turn),
    }
    return RoundOutcome(**{**plain, **changes})  # type: ignore[arg-type]


def result(policy: str, seed: int, rounds: int = 12, slower: float = 1.0) -> Result:
    """A run that is at 0.9 after eight rounds."""
    rows = tuple(
        outcome(
            turn,
            opened_s=600.0 * slower * (turn - 1),
            closed_s=600.0 * slower * turn,
            energy_j=1000.0 * slower + 10 * seed,
        )
        for turn in range(1, rounds + 1)
    )
    return Result(
        scenario="hand-made",
        policy=policy,
        engine="virtual",
        seed=seed,
        clients=CLIENTS,
        target=0.9,
        rounds=rows,
        ended_s=rows[-1].closed_s,
        phase="finished",
        reason="all rounds are done",
    )
