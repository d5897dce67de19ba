"""What a model that was just taught reads, and how it does with that on fleets it never saw."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from msgspec.structs import replace

from coordinator.agent.aims import own_sentences
from coordinator.agent.asking import parts_of
from coordinator.agent.engine import Answer, prices_of
from coordinator.agent.judging import Choice, intervals, judged, missed
from coordinator.agent.lessons import asked, prefix_for
from coordinator.distill import wanted_of
from coordinator.selection.advice import Part
from coordinator.selection.examples import Decision
from coordinator.selection.features import beside
from coordinator.selection.linear import chance
from coordinator.selection.prompt import COUNTS, prefix_of
from coordinator.selection.weights import Weights
from quantization.arrays import Array

T = TypeVar("T")
Read = Callable[[tuple[str, ...]], dict[str, Answer]]
"""The answer to each of some texts, prefix and question in one."""
SCALES = tuple(at / 4 for at in range(9))
"""By what the model's log-odds of words may be multiplied."""


class Judged(NamedTuple):
    """One decision: what the teacher thought of each box, and what made the student's scores."""

    decision: Decision
    parts: list[Part]

    def choice(self, scale: float = 1.0) -> Choice:
        """With words counting so much more."""
        said = [chance(p.numbers + p.aim + scale * p.words) for p in self.parts]
        return Choice(self.decision.cohort, [wanted_of(c) for c in self.decision.clients], said)


def scaled_words(judge: Weights | None, held: Sequence[Decision], read: Read) -> Weights | None:
    """The judge, with words counting no more than serves fleets held back; 0 where they mislead."""
    if judge is None or not held:
        return judge
    fleets = by_fleet(held, judged_by(judge, held, read))
    lost = {
        scale: np.array([missed([one.choice(scale) for one in every]) for every in fleets])
        for scale in SCALES
    }
    return replace(judge, words=cautious(lost))


def cautious(lost: Mapping[float, Array]) -> float:
    """Of scales, with what each fleet loses by them (fleets,): the least that serves as any does.

    That is, no more than one standard error worse (Breiman et al. 1984, Classification and
    Regression Trees, 3.4.3). Fleets held back write as those learned from do; others will be
    understood less well.
    """
    best = min(sorted(lost), key=lambda scale: float(lost[scale].sum()))
    for scale in sorted(lost):
        worse = lost[scale] - lost[best]
        if worse.sum() <= np.sqrt(len(worse)) * worse.std():
            return scale
    return best


def by_fleet(held: Sequence[Decision], rows: Sequence[T]) -> list[list[T]]:
    """What belongs to each decision, by the decisions' fleets."""
    fleets: dict[str, list[T]] = {}
    for decision, row in zip(held, rows, strict=True):
        fleets.setdefault(decision.fleet, []).append(row)
    return list(fleets.values())


def figures_of(
    held: Sequence[Decision], judge: Weights | None, read: Read
) -> dict[str, Any] | None:
    """By the teacher's worths, with 95 % intervals; None where nothing was held back."""
    if not held:
        return None
    if judge is None:
        said = read(tuple(dict.fromkeys(text for d in held for text in questions(d, judge))))
        choices = [
            Choice(
                d.cohort,
                [wanted_of(c) for c in d.clients],
                [said[text].join for text in questions(d, judge)],
            )
            for d in held
        ]
        return _figures(held, choices)
    every = judged_by(judge, held, read)
    blind = [replace_parts(one, lambda p: Part(p.numbers, 0.0, 0.0)) for one in every]
    mute = [replace_parts(one, lambda p: Part(p.numbers, p.aim, 0.0)) for one in every]
    found = _figures(held, [one.choice() for one in every])
    for name, rows in (("numbers", blind), ("numbers_and_aim", mute)):
        told = judged([one.choice() for one in rows])
        found |= {f"loss_of_{name}": told["loss"], f"captured_by_{name}": told["captured"]}
    return found | {"words": judge.words, "aims_read": aims_read(read)}


def _figures(held: Sequence[Decision], choices: Sequence[Choice]) -> dict[str, Any]:
    return {**judged(choices), **intervals(by_fleet(held, choices))}


def replace_parts(one: Judged, change: Callable[[Part], Part]) -> Judged:
    return Judged(one.decision, [change(part) for part in one.parts])


def judged_by(judge: Weights, decisions: Sequence[Decision], read: Read) -> list[Judged]:
    """What numbers, aim as it is read, and words make of each box."""
    asks = [text for d in decisions for text in questions(d, judge) if text]
    aims = [prefix_of(d.objective) + COUNTS for d in decisions if judge.aims]
    said = read(tuple(dict.fromkeys([*aims, *asks])))
    return [Judged(d, list(_parts(judge, d, said))) for d in decisions]


def questions(decision: Decision, judge: Weights | None) -> list[str]:
    """One text for each box, empty for one that says nothing."""
    prefix, numbers = prefix_for(decision, judge), judge is None
    found = [asked(client, decision, numbers=numbers) for client in decision.clients]
    return [prefix + question if question else "" for question in found]


def _parts(judge: Weights, decision: Decision, said: Mapping[str, Answer]) -> Iterable[Part]:
    answer = said.get(prefix_of(decision.objective) + COUNTS)
    prices = prices_of(answer) if answer else {}
    others = beside([client.features for client in decision.clients])
    for told, text in zip(others, questions(decision, judge), strict=True):
        yield parts_of(judge, told, prices, said.get(text))


def aims_read(read: Read) -> float:
    """Of sentences kept back: the share whose largest price is read as the largest."""
    kept = own_sentences(kept_back=True)
    said = read(tuple(prefix_of(text) + COUNTS for text, _ in kept))
    right = []
    for text, prices in kept:
        found = prices_of(said[prefix_of(text) + COUNTS])
        right.append(max(found, key=lambda n: found[n]) == max(prices, key=lambda n: prices[n]))
    return float(np.mean(right))
