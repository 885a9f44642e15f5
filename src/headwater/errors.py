"""Errors a user can act on: one sentence of cause, one of remedy, and the exit code that goes with them."""

from __future__ import annotations


class HeadwaterError(Exception):
    """An error whose cause and remedy can be told to the user.

    Parameters
    ----------
    cause : str
        One sentence: what is wrong.
    remedy : str
        One sentence: what the user can do about it.
    """

    exit_code = 1

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause} {self.remedy}"


class WorkError(HeadwaterError):
    """The work failed although it was asked for correctly (network, disk, data that changed)."""

    exit_code = 1


class InputError(HeadwaterError):
    """Bad arguments, configuration or input files; refused before any work where possible."""

    exit_code = 2
