"""Every kind of file that a finished run leaves, damaged: it must never be used as if nothing had happened."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import count
from random import Random

from hostile import place
from hostile.lab import Bench, Input
from hostile.mutation import DAMAGES, Damage
from hostile.place import Command

READERS: dict[str, tuple[Command, ...]] = {
    place.PLAN: (place.SELECT, place.COMPOSE, place.ELEVATE, place.PREDICT, place.TDX),
    place.ITEMS: (place.SELECT,),
    place.SCENES: (place.COMPOSE,),
    place.DEM: (place.ELEVATE,),
    place.COMPOSITE: (place.PREDICT,),
    place.ELEVATION: (place.VECTORIZE, place.PREDICT, place.FLOW),
    place.PROBABILITY: (place.VECTORIZE, place.COMBINE),
    place.MOSAIC: (place.VECTORIZE_MOSAIC,),
    place.REACHES: (place.VECTORIZE, place.JOIN),
    place.AREAS: (place.VECTORIZE,),
    place.SEGMENTS: (place.JOIN,),
    place.NETWORK: (place.CHECK, place.REPORT),
    place.CHECKS: (place.REPORT,),
    place.STATISTICS: (place.SELECT,),
    place.CLEAR: (place.SELECT,),
}
"""By file: the commands that read it."""


def damaged_intermediates(random: Random) -> Iterator[Input]:
    """Yield each file with each damage, again and again with other ones."""
    for turn in count():
        for number, (damage, change) in enumerate(DAMAGES.items()):
            for file, readers in READERS.items():
                reader = readers[(number + turn) % len(readers)]
                yield Input(
                    "intermediates",
                    f"{file.rpartition('/')[2] if file != place.SEGMENTS else 'segments'}: {damage}",
                    (reader,),
                    partial(_damage, file=file, change=change, seed=random.randrange(2**32)),
                    may_differ=False,
                )
        for file, readers in READERS.items():
            yield Input(
                "intermediates", f"{file.rpartition('/')[2]}: a folder", readers[:1], partial(_folder, file=file),
                may_differ=False,
            )  # fmt: skip


def _damage(bench: Bench, *, file: str, change: Damage, seed: int) -> None:
    for path in sorted(bench.work.glob(file)):
        name = str(path.relative_to(bench.work))
        bench.change(name, lambda content: change(content, Random(seed)))


def _folder(bench: Bench, *, file: str) -> None:
    for path in sorted(bench.work.glob(file)):
        path.unlink()
        path.mkdir()
