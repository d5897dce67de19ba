"""Assignments that are carried out together: their boxes' rows, and the updates they come to."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge_client.kinds import features_of
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


class Box:
    """A box made ready for a job, for as long as its rows and the job's feature map stay."""

    __slots__ = ("_own", "_rows", "features", "sizes", "task", "version", "word")

    def __init__(self, task: Task, own: Own, version: int, features: bytes, name: str) -> None:
        self.task, self.version, self.features = task, version, features
        self.word = zlib.crc32(name.encode())
        """The last one of the seed its rounding is drawn by, behind the offer's."""
        self.sizes = Sizes(len(own.train), len(own.validation), len(own.test))
        self._own = own
        self._rows: Mapping[str, Rows] | None = None

    def rows(self, what: str) -> Rows:
        """Those for training, validation or test."""
        if self._rows is None:
            own, z = self._own, features_of(self.task, self._own.table.X, self.features)
            each = ((name, getattr(own, name)) for name in Sizes._fields)
            self._rows = {name: (z[at], own.y[at]) for name, at in each}
        return self._rows[what]


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """Assignments of one cohort; boxes with equally many rows side by side."""

    task: Task
    offer: Offer
    requests: list[Assignment]
    boxes: list[Box]
    groups: list[tuple[Sizes, int]]
    """Each such group's sizes, and how many boxes are in it."""

    def sizes(self, what: str) -> list[int]:
        """How many such rows each box has."""
        return [size for sizes, count in self.groups for size in [getattr(sizes, what)] * count]

    def of(self, what: str) -> list[Rows]:
        """Features and labels of each group's training, validation or test rows."""
        found, end = [], 0
        for _, count in self.groups:
            begin, end = end, end + count
            features, labels = zip(*(box.rows(what) for box in self.boxes[begin:end]), strict=True)
            found.append((np.array(features), np.array(labels)))
        return found

    def done(self, payloads: list[bytes], figures: list[Metrics]) -> dict[bytes, Result]:
        """The updates, by the assignments' ids."""
        assert self.offer.model is not None
        turn, model = self.offer.turn, self.offer.model.digest
        each = zip(self.requests, self.sizes("train"), payloads, figures, strict=True)
        return {
            request.id: Done(
                turn,
                Update(
                    id=request.id,
                    turn=turn,
                    model=model,
                    rows=rows,
                    payload=payload,
                    metrics=metrics,
                ),
            )
            for request, rows, payload, metrics in each
        }


def told_training(trained: Trained, rows: list[int], steps: int) -> list[Metrics]:
    """As `edge_client.labour` tells it, of boxes with so many rows held back."""
    each = zip(rows, trained.first, trained.last, *trained.received, strict=True)
    return [
        Metrics(
            first_loss=first,
            last_loss=last,
            validation_loss=loss,
            validation_accuracy=accuracy,
            validation_rows=count,
            steps=steps,
            gradients=steps,
        )
        for count, first, last, loss, accuracy in each
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
