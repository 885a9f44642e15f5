"""A fork server: imports Headwater once, then runs each command in a child process of its own, with limits.

It reads one JSON object a line from stdin and answers with one: `Task` and what `run` returns. The child is the real
command in a process of its own, with memory and time limits, and notes what the command touches.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

SECONDS = 60.0
MEGABYTES = 2000
"""Resident memory that a command may have."""
_MAX_DATA_BYTES = 4 * 10**9
"""Writable memory that it may ask for: asking for much more fails, before this machine is in trouble."""
_MAX_FILE_BYTES = 10**9
UNCAUGHT = 70
"""Exit code of a command with an error that nobody caught."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = frozenset(
    {"os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate"}
)
_PROCESSES = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn"})
_PR_SET_PDEATHSIG = 1
_MODULES = (
    *(f"headwater.{name}" for name in (
        "cli", "evaluate.line_scores", "imagery.composite", "imagery.search", "imagery.select", "models.inspect",
        "predict.step", "raster.mosaic", "report.step", "stac.stac_api", "stac.token_endpoint", "terrain.elevation",
        "waterways.backbone_step", "waterways.network_step", "waterways.vectorize_step",
    )),
    "hostile.loading",
)  # fmt: skip


def run(argvs: Sequence[Sequence[str]], work: str, extra: Sequence[str] = ()) -> dict[str, Any]:
    """Run commands in a child, until one fails.

    Return the last exit code or signal, seconds, memory, texts, and what was touched.

    Parameters
    ----------
    argvs : sequences of str
        Arguments of `headwater`; or the name of a function, as module:function, and its arguments.
    work : str
        Its folder: where it runs, and the only place where it may write.
    extra : sequence of str
        Further folders where it may write: caches of compiled code.
    """
    texts = {name: Path(work) / f".{name}" for name in ("stdout", "stderr", "touched")}
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_child(argvs, work, extra, texts)
    ended, status, usage, timed_out = 0, 0, None, False
    while not ended:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if not ended and time.monotonic() - started > SECONDS:
            timed_out = True
            os.killpg(child, signal.SIGKILL)
            ended, status, usage = os.wait4(child, 0)
        if not ended:
            time.sleep(0.005)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    content = {name: path.read_text(errors="replace") for name, path in texts.items()}
    assert usage is not None
    return {
        "code": os.waitstatus_to_exitcode(status),
        "timed_out": timed_out,
        "seconds": round(time.monotonic() - started, 3),
        "megabytes": usage.ru_maxrss // 1024,
        "stdout": content["stdout"],
        "stderr": content["stderr"],
        "touched": sorted(set(content["touched"].splitlines())),
    }


def _be_child(argvs: Sequence[Sequence[str]], work: str, extra: Sequence[str], texts: dict[str, Path]) -> None:
    code: Any = UNCAUGHT
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        os.chdir(work)
        for name, stream in (("stdout", 1), ("stderr", 2)):
            os.dup2(os.open(texts[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        folder = Path(work) / ".tmp"
        folder.mkdir(mode=0o700, exist_ok=True)
        os.environ |= {"TMPDIR": str(folder), "XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
        tempfile.tempdir = None
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_DATA, (_MAX_DATA_BYTES, _MAX_DATA_BYTES))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_MAX_FILE_BYTES, _MAX_FILE_BYTES))
        _note_touched(texts["touched"], [work, "/dev/null", "/dev/shm", *extra])
        for argv in argvs:
            code = _main(argv)
            if code:
                break
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else UNCAUGHT)


def _main(argv: Sequence[str]) -> Any:
    """Run the command as its script does, with the threads that it leaves."""
    from headwater.cli import main

    try:
        code: Any = _call(*argv) if ":" in argv[0] else main(argv)
    except SystemExit as error:
        # A text is what Python prints before it leaves with 1.
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    return code


def _call(name: str, *arguments: str) -> int:
    """Call a function; a refusal is shown as the command line shows it."""
    from headwater.core.errors import HeadwaterError

    module, _, function = name.partition(":")
    try:
        getattr(import_module(module), function)(*arguments)
    except HeadwaterError as error:
        print(f"headwater: {error.cause}\nheadwater: {error.remedy}", file=sys.stderr)
        return error.exit_code
    return 0


def _note_touched(path: Path, allowed: Sequence[str]) -> None:
    """Note connections, processes and files written elsewhere than in `allowed`, one a line."""
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    places = tuple(Path(place).resolve() for place in allowed)

    def is_elsewhere(name: Any) -> bool:
        if isinstance(name, int):
            return False
        # Links are followed, except the last: what is removed or renamed is the link.
        path = Path(os.fsdecode(name)).absolute()
        full = path.parent.resolve() / path.name
        return not any(full.is_relative_to(place) for place in places)

    def note(text: str) -> None:
        os.write(notes, (text.replace("\n", " ") + "\n").encode(errors="replace"))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect":
            if isinstance(arguments[1], tuple):
                note(f"connect {arguments[1][0]}:{arguments[1][1]}")
        elif event == "open":
            flags = arguments[2]
            if isinstance(flags, int) and flags & _WRITING and is_elsewhere(arguments[0]):
                note(f"write {arguments[0]!r}")
        elif event in _CHANGES:
            for name in arguments[: 2 if event in ("os.rename", "os.link") else 1]:
                if is_elsewhere(name):
                    note(f"{event} {name!r}")
        elif event in _PROCESSES:
            note(f"process {event} {arguments[0]!r}")

    sys.addaudithook(hook)


def _import_all() -> None:
    """Import what the commands need, so that each child has it."""
    import torch

    torch.set_num_threads(1)
    for name in _MODULES:
        import_module(name)


def main() -> None:
    """Answer tasks until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    _import_all()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        print(json.dumps(run(task["argvs"], task["work"], task["extra"])), file=answers, flush=True)


if __name__ == "__main__":
    main()
