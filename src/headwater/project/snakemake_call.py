"""Starting Snakemake: the one of this environment, on the workflow of the package or the checkout."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headwater.core.errors import WorkError
from headwater.runs.watch import QUIET_VARIABLE

_PACKAGED = Path(__file__).parents[1] / "_workflow"
"""Where setup.py puts the workflow in a wheel."""
_CHECKOUT = Path(__file__).parents[3]


def workflow_folder() -> Path:
    """Return the folder with Snakefile, workflow/ and profiles/: in the package, or the checkout it is used from.

    Raises
    ------
    WorkError
        Neither has them.
    """
    for folder in (_PACKAGED, _CHECKOUT):
        if (folder / "Snakefile").is_file():
            return folder
    raise WorkError("The workflow is missing in this installation of Headwater.", "Install Headwater again.")


def call_snakemake(options: Sequence[str], *, keep_open: Sequence[int] = ()) -> int:
    """Run Snakemake in this folder and return its exit code; its warnings, and what Headwater says, are shown.

    Parameters
    ----------
    options : sequence of str
        Its command line.
    keep_open : sequence of int
        Descriptors that it inherits.

    Raises
    ------
    WorkError
        It is not installed.
    """
    # The one beside this Python: that of the same environment, whatever PATH says.
    beside = Path(sys.executable).with_name("snakemake")
    program = str(beside) if beside.is_file() else shutil.which("snakemake")
    if program is None:
        raise WorkError("snakemake is not installed.", "Install Headwater with its dependencies: `make install`.")
    quiet = {} if "--verbose" in options or QUIET_VARIABLE in os.environ else {QUIET_VARIABLE: "1"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    child: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, _: Any) -> None:
        # A terminal sends Ctrl-C to both; others who stop this process mean Snakemake.
        if number == signal.SIGINT:
            return
        if child is None:
            early.append(number)
        else:
            child.send_signal(number)

    # Snakemake ends in its own time: it waits for its jobs and removes what is half done.
    former = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        child = subprocess.Popen([program, *options], pass_fds=keep_open, env=dict(os.environ, PATH=path, **quiet))
        for number in early:
            child.send_signal(number)
        code = child.wait()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code
