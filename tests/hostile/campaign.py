"""A campaign of hostile inputs, and the table of what came of them: `make hostile`."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from threading import Lock

from hostile.awaiting import is_awaited
from hostile.doors import DOORS
from hostile.lab import GOOD, Lab, Outcome


def try_door(labs: Sequence[Lab], door: str, number: int, seed: int, *, slow: bool = True) -> list[Outcome]:
    """Return what comes of the first inputs of a door, with or without slow ones, one after the other in each lab."""
    drawn = DOORS[door].inputs(Random(f"{seed} {door}"))
    inputs = islice((each for each in drawn if slow or not each.slow), number)
    lock = Lock()

    def work(lab: Lab) -> list[Outcome]:
        outcomes = []
        while True:
            with lock:
                each = next(inputs, None)
            if each is None:
                return outcomes
            outcomes.append(lab.try_out(each))

    with ThreadPoolExecutor(len(labs)) as threads:
        return [outcome for part in threads.map(work, labs) for outcome in part]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a campaign; return 1 if an input did harm that is not known."""
    parser = argparse.ArgumentParser(prog="hostile", description="Try hostile inputs on every door.")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what is drawn (default: the time)")
    parser.add_argument("--doors", nargs="+", choices=list(DOORS), default=list(DOORS))
    parser.add_argument("--times", type=float, default=1.0, help="of the usual number of inputs (default 1)")
    parser.add_argument("--jobs", type=int, default=2, help="inputs at the same time (default 2)")
    given = parser.parse_args(argv)
    bad: list[Outcome] = []
    tried, awaited = 0, 0
    print(f"seed {given.seed}")
    print(
        f"{'door':<15}{'inputs':>7}"
        + "".join(f"{kind:>9}" for kind in GOOD)
        + f"{'awaited':>9}{'bad':>6}{'s max':>7}{'MB max':>8}"
    )
    with TemporaryDirectory(prefix="hostile-") as folder, ExitStack() as stack:
        labs = [stack.enter_context(Lab(Path(folder) / f"lab{number}")) for number in range(given.jobs)]
        for door in given.doors:
            outcomes = try_door(labs, door, round(DOORS[door].campaign * given.times), given.seed)
            kinds = Counter(each.kind for each in outcomes)
            known = [each for each in outcomes if not each.is_good and is_awaited(each)]
            wrong = [each for each in outcomes if not each.is_good and not is_awaited(each)]
            bad += wrong
            tried, awaited = tried + len(outcomes), awaited + len(known)
            print(
                f"{door:<15}{len(outcomes):>7}" + "".join(f"{kinds[kind]:>9}" for kind in GOOD)
                + f"{len(known):>9}{len(wrong):>6}"
                + f"{max(each.seconds for each in outcomes):>7.1f}{max(each.megabytes for each in outcomes):>8}",
                flush=True,
            )  # fmt: skip
            for each in wrong:
                print(
                    f"  {each.input.name!r} ({each.input.commands[-1].argv[0]}): {'; '.join(each.faults)}", flush=True
                )
    print(f"\n{tried} inputs, {awaited} of known faults, {len(bad)} bad")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
