"""When a job has learned enough: judged after each round, so that no further one is opened."""

from msgspec.structs import replace

from coordinator.jobstate import Folded, JobState
from coordinator.selection.advice import Advice
from coordinator.selection.features import Features
from coordinator.selection.progress import KEPT, progress


def progressed(state: JobState, event: Folded) -> JobState:
    """The state with what a training round told of the model it started from."""
    if event.validation_loss is None:
        return state
    loss, before = event.validation_loss, state.distance
    better = state.best is None or loss < state.best - state.rules.min_gain
    known = before is not None and event.distance is not None
    return replace(
        state,
        best=loss if better else state.best,
        stale=0 if better else state.stale + 1,
        losses=(*state.losses, loss)[-KEPT:],
        accuracy=event.validation_accuracy,
        gap=None if event.teacher_loss is None else loss - event.teacher_loss,
        distance=event.distance,
        drift=abs(event.distance - before) if known else None,  # type: ignore[operator]
    )


def enough(state: JobState) -> str:
    """Why the job should end now, or nothing.

    `gap` and `plateau` are LLM-QFL's (arXiv 2505.18656): the fleet's loss has come near the
    teacher's, or the boxes' mean distance from the fleet's loss no longer changes. The paper stops
    only near the teacher; a model that is better than its teacher is stopped here as well.
    """
    rules = state.rules
    if rules.target and state.accuracy is not None and state.accuracy >= rules.target:
        return f"validation accuracy {state.accuracy:.3f} reached the target {rules.target}"
    if rules.gap and state.gap is not None and state.gap < rules.gap:
        return f"validation loss is within {rules.gap} of the teacher's: {state.gap:+.4f}"
    if rules.plateau and state.drift is not None and state.drift < rules.plateau:
        return f"the boxes' distance from the fleet's loss changed by {state.drift:.4f} only"
    if rules.patience and state.stale >= rules.patience:
        return f"validation loss has not improved for {state.stale} rounds"
    return f"all {rules.rounds} rounds are done" if state.round >= rules.rounds else ""


def progress_of(state: JobState) -> Features:
    """How a job stands before its next round."""
    return progress(state.round, state.rules.rounds, state.losses, state.stale, state.accuracy)


def advised(state: JobState, advice: Advice | None) -> str:
    """Why the job should end by what its agent answered, or nothing; never before a round is done.

    A chance that is no number, or none at all, ends nothing.
    """
    bound, told = state.rules.constants.agent.stop, advice.stop if advice else None
    if not bound or told is None or not state.losses or not bound <= told <= 1:
        return ""
    return f"the agent sees too little to gain: {told:.2f} to stop"
