"""Assignments that are carried out together: their boxes' rows, and the updates they come to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_client.labour import Own
from edge_client.requests import Assignment, Done, Result
from firmware_sim.stacked import Judged, Trained
from proto.messages import Metrics, Offer, Task, Update
from quantization.arrays import Array

Rows = tuple[Array, NDArray[np.int64]]
"""Features and labels."""


class Sizes(NamedTuple):
    """How many rows serve for what; the fields are named as those of `Own`."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True, eq=False, slots=True)
class Box:
    """A box made ready for a job."""

    own: Own
    features: bytes
    """The job's feature map."""
    word: int
    """The last one of the seed its rounding is drawn by, behind the offer's."""
    rows: Mapping[str, Rows]
    """By what they are for."""
    sizes: Sizes


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Assignments of one cohort; boxes with equally many rows side by side."""

    task: Task
    offer: Offer
    requests: list[Assignment]
    boxes: list[Box]
    counts: list[int]
    """Boxes of each such group."""

    def of(self, what: str) -> list[Rows]:
        """Features and labels of each group's training, validation or test rows."""
        found, end = [], 0
        for count in self.counts:
            begin, end = end, end + count
            features, labels = zip(*(box.rows[what] for box in self.boxes[begin:end]), strict=True)
            found.append((np.array(features), np.array(labels)))
        return found

    def done(self, payloads: list[bytes], figures: list[Metrics]) -> dict[bytes, Result]:
        """The updates, by the assignments' ids."""
        assert self.offer.model is not None
        turn, model = self.offer.turn, self.offer.model.digest
        each = zip(self.requests, self.boxes, payloads, figures, strict=True)
        return {
            request.id: Done(
                turn,
                Update(
                    id=request.id,
                    turn=turn,
                    model=model,
                    rows=box.sizes.train,
                    payload=payload,
                    metrics=metrics,
                ),
            )
            for request, box, payload, metrics in each
        }


def told_training(trained: Trained, boxes: list[Box], steps: int) -> list[Metrics]:
    """As `edge_client.labour` tells it, box by box."""
    each = zip(boxes, trained.first, trained.last, *trained.received, strict=True)
    return [
        Metrics(
            first_loss=first,
            last_loss=last,
            validation_loss=loss,
            validation_accuracy=accuracy,
            validation_rows=box.sizes.validation,
            steps=steps,
            gradients=steps,
        )
        for box, first, last, loss, accuracy in each
    ]


def told_judging(seen: Judged, held: Judged, rows: list[int]) -> list[Metrics]:
    """The same where nothing was trained: on training rows, and on so many held back."""
    return [
        Metrics(
            first_loss=own,
            last_loss=own,
            validation_loss=loss,
            validation_accuracy=accuracy,
            validation_rows=count,
            steps=0,
        )
        for own, loss, accuracy, count in zip(seen.losses, *held, rows, strict=True)
    ]
