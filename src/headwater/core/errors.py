"""Errors a user can act on: one sentence of cause, one of remedy, the exit code and the kind that go with them."""

from __future__ import annotations

import errno

from headwater.core.secrets import without_credentials

NETWORK, INPUT, DATA, DISK, MEMORY, STOPPED, BUG = "network", "input", "data", "disk", "memory", "stopped", "bug"
"""Kinds of failures, by what the remedy has to do with; a run counts its failures by them."""
_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM)


_SHOWN = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
"""Control characters in messages, by what stands for them."""


class HeadwaterError(Exception):
    """An error with a cause and a remedy to show to the user.

    Parameters
    ----------
    cause : str
        One sentence: what is wrong.
    remedy : str
        One sentence: what the user can do about it.
    """

    exit_code = 1
    kind = DATA

    def __init__(self, cause: str, remedy: str) -> None:
        cause, remedy = without_credentials(cause), without_credentials(remedy)
        # Names in files of other people may hold what a terminal obeys.
        cause, remedy = cause.translate(_SHOWN), remedy.translate(_SHOWN)
        super().__init__(cause, remedy)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.cause} {self.remedy}"


class WorkError(HeadwaterError):
    """The work failed although the request was correct."""

    exit_code = 1


class NetworkError(WorkError):
    """A service does not answer, refuses the request, or returns an unexpected answer."""

    kind = NETWORK


class DiskError(WorkError):
    """A file could not be written."""

    kind = DISK


class OutOfMemory(WorkError):
    """The work does not fit into the memory of the machine or of its GPU."""

    kind = MEMORY


class InputError(HeadwaterError):
    """Bad arguments, configuration or input files; refused before any work where possible."""

    exit_code = 2
    kind = INPUT


def one_line(text: str) -> str:
    """Return a text with line breaks and control characters as escapes: it may quote what a file or a server says."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def cause_of(error: BaseException) -> str:
    """Return the kind of failure that an error is.

    Parameters
    ----------
    error : BaseException
        Any error; an unexpected one is a bug.
    """
    if isinstance(error, HeadwaterError):
        return error.kind
    if isinstance(error, KeyboardInterrupt):
        return STOPPED
    # torch has its own error class; torch must not be imported only for this check.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return MEMORY
    if isinstance(error, ConnectionError | TimeoutError):
        return NETWORK
    if isinstance(error, OSError):
        kinds = {errno.ENOMEM: MEMORY, errno.ENOENT: INPUT} | dict.fromkeys(_OF_DISK, DISK)
        return kinds.get(error.errno or 0, BUG)
    return BUG
