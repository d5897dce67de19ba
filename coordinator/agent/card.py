"""The card beside an adapter: what it learned from, how, how well, and what it is not for."""

from typing import TYPE_CHECKING, Any

from coordinator.selection.examples import Header
from proto.files import write_whole

if TYPE_CHECKING:
    from coordinator.agent.distil import Lecture

TEXT = """\
# {name}

A LoRA adapter for SmolLM2-135M-Instruct (Apache-2.0), read after {depth} of its blocks. {reads}
For `rounds.policy = "agent"`.

| | |
|---|---|
| base model | SHA-256 {base} |
| teacher | {teacher}, seed {teacher_seed} |
| scenarios | {scenarios} |
| lessons | {lessons} different questions from {fleets} fleets; {aims} objectives |
| adapter | rank {rank}, alpha {alpha:g}, queries and values of blocks {first} to {last} |
| course | {before:g} epochs of objectives, {epochs:g} of all, in batches of {batch}; seed {seed} |
| AdamW at | {rate:g} |

{figures}

Made again by:

    coordinator distill {source} -o {file} --depth {depth} --blocks {blocks} --rank {rank} \\
        --epochs {epochs:g} --rate {rate:g} --most {most} --seed {seed}

Limits: taught by emulated fleets alone, in English. It orders boxes that a plan would accept
anyway; its chances are not calibrated for other uses. Words that it never met may mislead it.
"""
BESIDE = """\
It reads what the owner's objective
counts, and from a box's journal and note what that adds to the log-odds by which the judge in the
file beside it, a linear student of the box's numbers, would ask it."""
ALONE = "It says from one short text about a box whether it should train now, with how many steps."
HELD = """\
On {fleets} fleets held back, {boxes:.0f} boxes: loss {loss:.4f} ({loss_95[0]:.4f} to
{loss_95[1]:.4f} if fleets are drawn anew; a constant's {loss_of_a_constant:.4f}, the teacher's own
uncertainty {least_loss:.4f}); {captured:.0%} ({captured_95[0]:.0%} to {captured_95[1]:.0%}) of what
could be gained over lots by the teacher's worths."""
PARTS = """
The judge of numbers alone: loss {loss_of_numbers:.4f}, {captured_by_numbers:.0%}; with the aim as
read {loss_of_numbers_and_aim:.4f}, {captured_by_numbers_and_aim:.0%}.
Its log-odds of words count {words:g} times.
Of sentences that were kept back {aims_read:.0%} were read rightly."""


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
        reads=BESIDE if lecture.judge else ALONE,
        lessons=found["lessons"],
        aims=found["aims"],
        before=course.first,
        fleets=found["fleets"],
        rank=course.rank,
        alpha=course.alpha,
        first=lecture.depth - course.blocks,
        last=lecture.depth - 1,
        epochs=course.epochs,
        batch=course.batch,
        rate=course.rate,
        seed=course.seed,
        figures=_figures(held),
        source=" ".join(path.name for path in lecture.sources),
        file=lecture.target.name,
        blocks=course.blocks,
        most=lecture.most,
    )
    write_whole(lecture.target.with_suffix(".md"), text.encode())


def _figures(held: dict[str, Any] | None) -> str:
    if not held:
        return "No fleet was held back: nothing is known of it."
    return HELD.format(**held) + (PARTS.format(**held) if "words" in held else "")
