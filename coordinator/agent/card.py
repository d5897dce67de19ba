"""The card beside an adapter: what it learned from, how, how well, and what it is not for."""

from typing import TYPE_CHECKING, Any

from coordinator.selection.examples import Header
from proto.files import write_whole

if TYPE_CHECKING:
    from coordinator.agent.distil import Lecture

TEXT = """\
# {name}

A LoRA adapter for SmolLM2-135M-Instruct (Apache-2.0), read after {depth} of its blocks: it says
from one short text about a box whether it should train now, and with how many steps. For
`rounds.policy = "agent"`.

| | |
|---|---|
| base model | SHA-256 {base} |
| teacher | {teacher}, seed {teacher_seed} |
| scenarios | {scenarios} |
| lessons | {lessons} different questions from {fleets} fleets |
| adapter | rank {rank}, alpha {alpha:g}, queries and values of blocks {first} to {last} |
| course | {epochs:g} epochs, batches of {batch}, AdamW at {rate:g}, seed {seed} |

{figures}

Made again by:

    coordinator distill {source} -o {file} --depth {depth} --blocks {blocks} --rank {rank} \\
        --epochs {epochs:g} --rate {rate:g} --most {most} --seed {seed}

Limits: taught by emulated fleets alone, in English. It orders boxes that a plan would accept
anyway; its chances are not calibrated for other uses. Words that it never met may mislead it.
"""
HELD = """\
On {fleets} fleets held back, {boxes:.0f} boxes: loss {loss:.4f} (a constant's
{loss_of_a_constant:.4f}, the teacher's own uncertainty {least_loss:.4f}); {captured:.0%} of what
could be gained over lots by the teacher's chances."""


def write_card(lecture: "Lecture", header: Header, found: dict[str, Any]) -> None:
    """Beside the adapter, as Markdown."""
    course, held = lecture.course, found["held_out"]
    text = TEXT.format(
        name=lecture.target.stem,
        depth=lecture.depth,
        base=found["base"],
        teacher=header.teacher,
        teacher_seed=header.seed,
        scenarios=", ".join(header.scenarios) or "not told",
        lessons=found["lessons"],
        fleets=found["fleets"],
        rank=course.rank,
        alpha=course.alpha,
        first=lecture.depth - course.blocks,
        last=lecture.depth - 1,
        epochs=course.epochs,
        batch=course.batch,
        rate=course.rate,
        seed=course.seed,
        figures=HELD.format(**held) if held else "No fleet was held back: nothing is known of it.",
        source=lecture.source.name,
        file=lecture.target.name,
        blocks=course.blocks,
        most=lecture.most,
    )
    write_whole(lecture.target.with_suffix(".md"), text.encode())
