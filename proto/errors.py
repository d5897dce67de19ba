"""Every error Qfleet raises on purpose, split by whose fault it is.

A docstring's first line is what a person reads; the text given at the raise says what to do next.
"""


class QfleetError(Exception):
    """Something Qfleet can explain."""


class LocalError(QfleetError):
    """This side did wrong: a bad setting, a bad file, a call that makes no sense."""


class ConfigError(LocalError):
    """A setting or file given by the person is not usable."""


class StorageError(LocalError):
    """The disk refused: full, read-only or damaged."""


class RemoteError(QfleetError):
    """Bytes or behaviour of the other side are not acceptable. Changes nothing on this side."""


class SealError(RemoteError):
    """A message is not from whom it claims, was altered, or was sealed for somebody else."""


class TransportError(QfleetError):
    """The broker cannot be reached, or refuses what is published."""
