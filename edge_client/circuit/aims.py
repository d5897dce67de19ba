"""What a classifier's chances are drawn to: the labels alone, or the labels and a teacher.

With a teacher (Hinton et al. 2015) the loss of a row is
(1 - share) * CE(label, model) + share * warmth^2 * KL(teacher || model), in which the second term
takes both distributions at the temperature `warmth`: softmax(log chances / warmth).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_client.circuit.heads import Float64s, log_softmax
from edge_client.model import Labels
from proto.errors import LocalError

LOWEST = -50.0
"""A teacher's smallest log-chance: no teacher is surer than that."""
ROUNDING = 1e-6
"""How far above 0 a log-chance may be rounded."""


@dataclass(frozen=True, slots=True)
class Blend:
    """How much of the loss is the teacher's, and how soft both are compared.

    Raises LocalError for a share outside [0, 1] or a warmth that is not above 0.
    """

    share: float
    warmth: float = 1.0

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and 0 < self.warmth < float("inf")):
            raise LocalError(f"a teacher's share of {self.share} at a warmth of {self.warmth}")


@dataclass(frozen=True, eq=False, slots=True)
class Aim:
    """Where some rows' chances should go."""

    targets: Float64s
    """(classes, rows): 1 for the label, 0 elsewhere."""
    taught: Float64s | None = None
    """The teacher's chances at the blend's warmth, of the same shape."""
    blend: Blend = Blend(0.0)

    def part(self, part: slice) -> "Aim":
        """Some of the rows."""
        taught = None if self.taught is None else self.taught[:, part]
        return Aim(self.targets[:, part], taught, self.blend)

    def loss(self, log_chances: Float64s) -> tuple[float, Float64s]:
        """Of log-chances (classes, rows): the summed loss, and how it falls as each one rises."""
        plain = -float((self.targets * log_chances).sum())
        if self.taught is None:
            return plain, self.targets
        share, warmth = self.blend.share, self.blend.warmth
        log_soft, taught = log_softmax(log_chances / warmth), self.taught
        log_taught = np.log(np.where(taught > 0, taught, 1.0))
        far = float((taught * (log_taught - log_soft)).sum())
        fall = (1 - share) * self.targets + share * warmth * (taught - np.exp(log_soft))
        return (1 - share) * plain + share * warmth**2 * far, fall


def aim(
    labels: Labels, shape: tuple[int, int], taught: Float64s | None, blend: Blend | None
) -> Aim:
    """The aim of labels for (rows, classes); `taught` are the teacher's log-chances, of this shape.

    A teacher without a share changes no bit. Raises LocalError for labels that do not fit.
    """
    rows, classes = shape
    if labels.shape != (rows,) or rows == 0:
        raise LocalError(f"{labels.shape} labels for {rows} rows")
    if labels.min() < 0 or labels.max() >= classes:
        raise LocalError(f"a label is not one of the {classes} classes")
    targets = np.eye(classes)[:, labels]
    if taught is None or blend is None or not blend.share:
        return Aim(targets)
    return Aim(targets, np.exp(log_softmax(taught.T / blend.warmth)), blend)


def checked(taught: NDArray[np.floating]) -> Float64s:
    """A teacher's log-chances (rows, classes), none too low. Raises LocalError for NaN."""
    if not (taught <= ROUNDING).all():  # NaN fails here, too
        raise LocalError("a teacher's chance is NaN or above 1")
    return np.maximum(taught.astype(np.float64), LOWEST)
