"""Checkpoints of others: safetensors and the JSON next to them."""

from __future__ import annotations

import hashlib
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from itertools import count
from random import Random
from typing import Any

from hostile import place
from hostile.lab import Bench, Input
from hostile.mutation import DAMAGES, NESTED, VALUES, change_json, places_in, with_value

JSON = place.WEIGHTS.replace(".safetensors", ".json")
NUMBERS = (0, -1, 1, 3.5, 10**5, 2**31, 10**30, 1e308, float("nan"), float("inf"), "3", None, True, [])


def _set_json(bench: Bench, *, change: Callable[[Any], Any]) -> None:
    bench.change_json(JSON, change)


def _set_weights(bench: Bench, *, change: Callable[[bytes], bytes], announced: bool = True) -> None:
    """Change the weights; the JSON states their hash, as that of a checkpoint made to harm."""
    bench.change(place.WEIGHTS, change)
    if announced:
        digest = hashlib.sha256((bench.work / place.WEIGHTS).read_bytes()).hexdigest()
        bench.change_json(JSON, lambda described: described | {"sha256": digest})


def _header(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = struct.unpack_from("<Q", content)[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _with_header(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    def changed(content: bytes) -> bytes:
        header, data = _header(content)
        made = json.dumps(change(header)).encode()
        return struct.pack("<Q", len(made)) + made + data

    return changed


def _first(**facts: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Change what the header says of the first tensor."""

    def changed(header: dict[str, Any]) -> dict[str, Any]:
        name = next(each for each in header if each != "__metadata__")
        return header | {name: header[name] | facts}

    return changed


class _Injected:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, ("touch INJECTED",)


def _pickled(_: bytes) -> bytes:
    return pickle.dumps(_Injected())


def _zip(_: bytes) -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Injected()))
        archive.writestr("archive/version", "3")
    return out.getvalue()


_NOTHING = {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}
WEIGHTS: dict[str, Callable[[bytes], bytes]] = {
    "a pickle": _pickled,
    "a zip of torch": _zip,
    "header of 2**63 bytes": lambda content: struct.pack("<Q", 2**63) + content[8:],
    "header of 100 MB": lambda content: struct.pack("<Q", 100_000_000) + content[8:],
    "header of no bytes": lambda content: bytes(8) + content[8:],
    "header that is deep": lambda content: struct.pack("<Q", NESTED) + b"[" * NESTED,
    "header that is a list": _with_header(lambda header: [header]),
    "shape of 2**60": _with_header(_first(shape=[2**60])),
    "shape of 2**40 times 2**40": _with_header(_first(shape=[2**40, 2**40])),
    "shape below zero": _with_header(_first(shape=[-1])),
    "offsets beyond the file": _with_header(_first(data_offsets=[0, 2**40])),
    "offsets the other way round": _with_header(_first(data_offsets=[100, 0])),
    "an unknown type": _with_header(_first(dtype="F1024")),
    "whole numbers": _with_header(_first(dtype="I16")),
    "8 bits": _with_header(_first(dtype="F8_E4M3")),
    "NaN throughout": lambda content: (
        (parts := _header(content))
        and struct.pack("<Q", struct.unpack_from("<Q", content)[0])
        + content[8 : 8 + struct.unpack_from("<Q", content)[0]]
        + b"\xff\x7f" * (len(parts[1]) // 2)
    ),
    "no tensors": _with_header(lambda header: {}),
    "a tensor more": _with_header(
        lambda header: header | {"x": {"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}}
    ),
}
TEXTS = {
    "no JSON": b"x",
    "deep": b'{"config":' * NESTED,
    "a huge number": b'{"config": ' + b"9" * 5000 + b"}",
    "NaN": b"NaN",
    "nothing": b"",
    "a list": b"[]",
}


def checkpoints(random: Random) -> Iterator[Input]:
    """Yield checkpoints to `models verify`, `models info` and `predict`."""
    readers = ((place.VERIFY,), (place.INFO,), (place.PREDICT,))

    def one(name: str, make: Callable[..., None], **facts: Any) -> Input:
        return Input("checkpoints", name, random.choice(readers), partial(make, **facts))

    fixed = [one(f"weights: {name}", _set_weights, change=change) for name, change in WEIGHTS.items()]
    fixed += [one(f"JSON: {name}", _text, content=content) for name, content in TEXTS.items()]
    random.shuffle(fixed)
    yield from fixed
    for turn in count():
        seed = random.randrange(2**32)
        if turn % 4 == 0:
            name = random.choice(list(DAMAGES))
            yield one(
                f"weights: {name}",
                _set_weights,
                change=partial(_damaged, name=name, seed=seed),
                announced=turn % 8 == 0,
            )
        elif turn % 4 == 1:
            yield one(f"JSON drawn {seed}", _set_json, change=partial(_changed, seed=seed))
        else:
            yield one(f"number drawn {seed}", _set_json, change=partial(_other_number, seed=seed))


def _text(bench: Bench, *, content: bytes) -> None:
    bench.replace(JSON, content)


def _damaged(content: bytes, *, name: str, seed: int) -> bytes:
    return DAMAGES[name](content, Random(seed))


def _changed(described: Any, *, seed: int) -> Any:
    return change_json(described, Random(seed))[1]


def _other_number(described: Any, *, seed: int) -> Any:
    """Change a size of the network, or a number of the recipe."""
    random = Random(seed)
    paths = [path for path in places_in(described) if path and path[0] in ("config", "recipe", "input_pixel_m")]
    return with_value(described, random.choice(paths), random.choice([*NUMBERS, random.choice(VALUES)]))
