"""Runs hostile inputs, each in a child process, and judges what came of them."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hostile import place
from hostile.canary import Canary
from hostile.fork_server import MEGABYTES, UNCAUGHT
from hostile.place import Command
from hostile.server import Answer, Server
from support.places import ROOT

RIGHT, STATED, OTHER, REFUSED = "right", "stated", "other", "refused"
"""What may come of an input: the result of the sound one; another by a rule that the command states; another because
the input is sound and says something else; a sentence of cause and one of remedy."""
GOOD = (RIGHT, STATED, OTHER, REFUSED)
_REFUSAL = re.compile(r"^headwater: .+\nheadwater: .+\Z", re.M)
_USAGE = re.compile(r"^headwater( \S+)*: error: ", re.M)


@dataclass(frozen=True)
class Input:
    """A hostile input: files of the place changed, a command, and what the server answers."""

    door: str
    name: str
    commands: tuple[Command, ...]
    """One after the other, until one fails; what they write is removed before."""
    prepare: Callable[[Bench], None] = lambda bench: None
    """Makes the input in the place."""
    answer: Callable[[Bench], Answer] | None = None
    may_differ: bool = True
    """Whether a sound input may say this, so that another result is right. Damage must never give one."""
    slow: bool = False
    """Whether a command may wait for long, as for a server that does not answer: not in the short version."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Files that the commands write."""
        return tuple(name for command in self.commands for name in command.outputs)


@dataclass(frozen=True)
class Bench:
    """Where an input is made."""

    work: Path
    server: Server
    canary: Canary

    def replace(self, name: str, content: bytes) -> None:
        """Give a file other content; the original is a link to one that all inputs share."""
        path = self.work / name
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def change(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change the content of a file."""
        self.replace(name, change((self.work / name).read_bytes()))

    def change_json(self, name: str, change: Callable[[Any], Any]) -> None:
        """Change a JSON file; Python's NaN and Infinity are written."""
        self.change(name, lambda content: json.dumps(change(json.loads(content))).encode())


@dataclass(frozen=True)
class Outcome:
    """What came of an input."""

    input: Input
    kind: str
    """One of `GOOD`, or the worst fault."""
    faults: tuple[str, ...]
    seconds: float
    megabytes: int
    said: str

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


@dataclass
class _Sound:
    digests: dict[str, str]
    said: str


@dataclass
class Lab:
    """A place, a fork server, the server under test and the canary.

    Parameters
    ----------
    folder : Path
        A new folder for all of it.
    """

    folder: Path
    _sound: dict[tuple[Command, ...], _Sound] = field(default_factory=dict)

    def __enter__(self) -> Lab:
        # Files name others of the place by their paths: each input has a copy at the same path.
        self.work, self._kept = self.folder / "work", self.folder / "kept"
        self.work.mkdir(parents=True)
        place.build(self.work)
        self.canary, self.server = Canary(self.folder / "elsewhere"), Server()
        self._caches = [str(ROOT / "src"), str(self.folder / "numba")]
        environment = os.environ | {
            "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "no_proxy": "*",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }  # fmt: skip
        with (self.folder / "fork_server.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hostile.fork_server"], env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n", (self.folder / "fork_server.log").read_text()
        for command in place.FIRST:
            done = self._send([command.argv])
            assert done["code"] == 0, done
        self.work.rename(self._kept)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(70)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self.server.close()
        self.canary.close()

    def try_out(self, each: Input) -> Outcome:
        """Run a hostile input, and once per command the sound one."""
        if not each.may_differ and each.commands not in self._sound:
            done = self._run(Input(each.door, "sound", each.commands))
            assert done["code"] == 0, done
            self._sound[each.commands] = _Sound(self._digests(each.outputs), done["stderr"])
        done = self._run(each)
        return self._judge(each, done)

    def _run(self, each: Input) -> dict[str, Any]:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self._kept, self.work, copy_function=os.link)
        for name in each.outputs:
            (self.work / name).unlink(missing_ok=True)
        bench = Bench(self.work, self.server, self.canary)
        each.prepare(bench)
        if each.answer is not None:
            self.server.answer = each.answer(bench)
        self.canary.touched()
        return self._send([command.argv for command in each.commands])

    def _send(self, commands: Sequence[Sequence[str]]) -> dict[str, Any]:
        argvs = [[word.replace("{server}", self.server.url) for word in argv] for argv in commands]
        task = {"argvs": argvs, "work": str(self.work), "extra": self._caches}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(task), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, (self.folder / "fork_server.log").read_text()
        return json.loads(answer)

    def _digests(self, names: Sequence[str]) -> dict[str, str]:
        found = {}
        for name in names:
            path = self.work / name
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        return found

    def _judge(self, each: Input, done: dict[str, Any]) -> Outcome:
        faults = []
        text = done["stdout"] + done["stderr"]
        code = done["code"]
        written = self._digests(each.outputs)
        kind = REFUSED
        if done["timed_out"]:
            faults.append(kind := "hangs")
        elif code < 0:
            faults.append(kind := f"signal {-code}")
        elif code == UNCAUGHT or "Traceback (most recent call last)" in text:
            last = text.strip().splitlines()[-1][:150] if text.strip() else ""
            faults.append(kind := "traceback")
            faults.append(last)
        elif code == 0:
            kind = self._kind_of_result(each, written, done["stderr"])
            if kind not in GOOD:
                faults.append(kind)
        elif code not in (1, 2):
            faults.append(kind := f"exit code {code}")
        elif not (
            _REFUSAL.search(done["stderr"].rstrip())
            or _USAGE.search(done["stderr"].rstrip())
            # `network check` prints a table of violations instead.
            or "violations" in done["stdout"]
        ):
            faults.append(kind := "no sentences")
        if done["megabytes"] > MEGABYTES:
            faults.append(f"memory: {done['megabytes']} MB")
        if code != 0 and any(written[name] for name in each.commands[-1].outputs):
            faults.append("refused, but something is written")
        left = [str(path.relative_to(self.work)) for path in self.work.rglob(".*.part*")]
        if left and code >= 0:
            faults.append(f"left behind: {', '.join(left)}")
        server = self.server.url.removeprefix("http://")
        faults += [each for each in done["touched"] if each != f"connect {server}"]
        faults += self.canary.touched()
        if faults and kind in GOOD:
            kind = faults[0].split(":")[0]
        return Outcome(each, kind, tuple(faults), done["seconds"], done["megabytes"], done["stderr"][-400:])

    def _kind_of_result(self, each: Input, written: dict[str, str], said: str) -> str:
        if not all(written.values()):
            return "nothing written"
        if each.may_differ:
            return OTHER
        sound = self._sound[each.commands]
        if written == sound.digests:
            return RIGHT
        return STATED if set(said.splitlines()) - set(sound.said.splitlines()) else "used silently"
