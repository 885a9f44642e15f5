"""The command line: one subcommand a step, named as its rule. It parses arguments and calls a function, no more.

Heavy imports wait until the subcommand runs, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from headwater.core.errors import HeadwaterError, one_line
from headwater.core.events import recorded

_OBJECTS_BETWEEN_SEARCHES = 100_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 done, 1 the work failed, 2 bad arguments or configuration."""
    # Libraries make a million objects as they load, hardly any in circles: to search them for garbage at each 700 new
    # ones, and at the end once more, is a tenth of the time that a short command takes.
    gc.set_threshold(_OBJECTS_BETWEEN_SEARCHES)
    atexit.register(gc.freeze)
    words, further = _split(sys.argv[1:] if argv is None else list(argv))
    # Only the arguments of the subcommand that runs are added: the others' would double the time of `--help`.
    parser = build_parser(next((word for word in words if not word.startswith("-")), ""))
    arguments = parser.parse_args(words)
    if further is not None:
        arguments.further = further
    options = {key: value for key, value in vars(arguments).items() if key not in ("run", "word", "log")}
    try:
        with recorded(arguments.word, arguments.log):
            result = arguments.run(**options)
        sys.stdout.flush()
    except HeadwaterError as error:
        print(f"headwater: {one_line(error.cause)}\nheadwater: {one_line(error.remedy)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("headwater: interrupted; nothing half-written is left.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Who read our output has enough, as `head` does. Python would complain when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        print(f"headwater: {error.strerror} ({error.filename2 or error.filename}).", file=sys.stderr)
        print("headwater: Check the path, its permissions and the free space, then run again.", file=sys.stderr)
        return 1
    return result if isinstance(result, int) else 0


def _split(words: list[str]) -> tuple[list[str], list[str] | None]:
    """Return the words of the command line and, of `run`, those after `--`, which are for Snakemake."""
    if words[:1] != ["run"] or "--" not in words:
        return words, None
    end = words.index("--")
    return words[:end], words[end + 1 :]


def build_parser(only: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all subcommands.

    Parameters
    ----------
    only : str, optional
        Add the arguments of this subcommand alone.
    """
    parser = argparse.ArgumentParser(
        prog="headwater", description="Maps the world's waterways from Sentinel-2 and Copernicus GLO-30."
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="word", metavar="COMMAND", required=True)
    for word, (summary, module) in COMMANDS.items():
        command = commands.add_parser(word, help=summary, description=_sentence(summary))
        if only not in (None, word):
            continue
        command.add_argument(
            "--log", type=Path, help="log of this job: its events are appended next to it, as JSON lines"
        )
        getattr(import_module(f"headwater.cli.{module}"), word)(command)
    return parser


def _sentence(summary: str) -> str:
    return summary[0].upper() + summary[1:] + "."


def _version() -> str:
    from importlib.metadata import version

    return f"headwater {version('headwater')}"


COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("make a project folder for an area, and show what its run costs", "projects"),
    "run": ("run the workflow in a project folder", "projects"),
    "plan": ("list the cells of a basin", "planning"),
    "search": ("find scenes and elevation tiles and pin them in a file", "imagery"),
    "select": ("choose the scenes of a cell", "imagery"),
    "composite": ("make the cloud-free image of a cell", "imagery"),
    "elevation": ("make the elevation of a cell", "rasters"),
    "predict": ("predict the probability of water in a cell", "rasters"),
    "mosaic": ("combine the cells' rasters side by side", "rasters"),
    "backbone": ("prepare the stream network that new waterways join", "waterways"),
    "vectorize": ("turn probability into waterways", "waterways"),
    "network": ("join the cells' waterways to one network, or check one", "waterways"),
    "report": ("make tables, maps and a page of a basin", "waterways"),
    "view": ("serve the map page of a basin to a browser of this machine", "viewing"),
    "catalog": ("list the results of all basins in a STAC catalog with a map", "waterways"),
    "fetch": ("fetch basins, stream networks and lakes, or list their sources", "fetching"),
    "flood": ("map floods that water obeys, by hidden Markov trees over the elevation", "flood"),
    "items": ("make a catalog from a folder of your own rasters", "imagery"),
    "chips": ("cut training chips from cells and labels", "learning"),
    "train": ("train a network", "learning"),
    "models": ("networks and checkpoints: list, info, import, fetch, verify", "learning"),
    "evaluate": ("score a network, probabilities or lines against the truth", "learning"),
    "why": ("show what a run would make again for a cell, and why", "planning"),
    "demo": ("the demo planet: build, serve, run", "demo"),
}
"""Each subcommand: its summary and the module of this package whose function of that name adds its arguments."""
