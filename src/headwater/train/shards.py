"""Stored chips: safetensors shards and a manifest, written by `headwater chips`, read by training.

A shard is a header followed by plain arrays: a chip is read as a slice of a memory map without decoding, and nothing in
it is executed. A shard of a remote store is downloaded once, in one request, into the training's work folder.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt
import requests
from safetensors.numpy import save

from headwater.core.errors import InputError, WorkError
from headwater.core.files import atomic_path, read_json, write_if_changed
from headwater.train.chips import Chip, window_of

MANIFEST = "manifest.json"
FORMAT = 1
BYTES_PER_PIXEL = 9
"""Four bands of one byte, one height of 4 bytes, one water type."""
_DTYPES: Mapping[str, type[Any]] = {"U8": np.uint8, "F32": np.float32}
_TIMEOUT_S = 60
_MAX_HEADER_BYTES = 1 << 20
_MAX_MANIFEST_BYTES = 1 << 28
_SHA256 = re.compile("[0-9a-f]{64}")


def write_shard(path: Path, chips: Sequence[Chip]) -> str:
    """Write chips of one size into a shard; return its sha256."""
    composite, elevation, types = (np.ascontiguousarray(np.stack(arrays)) for arrays in zip(*chips, strict=True))
    content = save({"composite": composite, "elevation": elevation.astype(np.float32), "types": types})
    write_if_changed(path, content)
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Shard:
    """A row of the manifest, and the location of its file."""

    source: str
    """Folder or address of the manifest."""
    cache: Path
    """Folder for shards of a remote store."""
    file: str
    """Path relative to the manifest."""
    part: str
    """training, validation or test."""
    region: str
    """Region of all its chips."""
    side_px: int
    """Side of its chips."""
    chips: int
    """Number of chips."""
    sha256: str
    """sha256 of the file."""

    def chip(self, index: int) -> Chip:
        """Return a chip, memory-mapped."""
        return (
            self._arrays["composite"][index],
            self._arrays["elevation"][index],
            self._arrays["types"][index],
        )

    @cached_property
    def _path(self) -> Path:
        if not _is_remote(self.source):
            return Path(self.source) / self.file
        # Named by content: shards that were cut again are other files, and no name in a manifest leaves the cache.
        path = self.cache / f"{self.sha256}.safetensors"
        if not path.is_file():
            max_bytes = self.chips * self.side_px**2 * BYTES_PER_PIXEL + _MAX_HEADER_BYTES
            with atomic_path(path) as temporary:
                _download(f"{self.source.rstrip('/')}/{self.file}", temporary, max_bytes)
                if file_sha256(temporary) != self.sha256:
                    raise WorkError(
                        f"{self.file} from {self.source} is damaged (sha256 differs).",
                        "Start again, or copy the chips there again.",
                    )
        return path

    @cached_property
    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        try:
            with self._path.open("rb") as file:
                (length,) = struct.unpack("<Q", file.read(8))
                header = json.loads(file.read(length))
            arrays: dict[str, npt.NDArray[Any]] = {
                name: np.memmap(
                    self._path,
                    dtype=_DTYPES[entry["dtype"]],
                    mode="r",
                    offset=8 + length + entry["data_offsets"][0],
                    shape=tuple(entry["shape"]),
                )
                for name, entry in header.items()
                if name != "__metadata__"
            }
            chip = (self.chips, self.side_px, self.side_px)
            if {name: array.shape for name, array in arrays.items()} != {
                "composite": (self.chips, 4, *chip[1:]), "elevation": chip, "types": chip,
            }:  # fmt: skip
                raise ValueError("it has other chips than its manifest lists")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
            raise InputError(f"The shard {self._path} cannot be read ({error}).", "Copy it again.") from error
        return arrays


@dataclass(frozen=True)
class Part:
    """The chips of training, of validation or of test."""

    name: str
    """training, validation or test."""
    shards: tuple[Shard, ...]
    """Its shards in the order of the manifest."""

    @property
    def sides(self) -> list[int]:
        """Sides of its chips in pixels, ascending."""
        return sorted({shard.side_px for shard in self.shards})

    def side_for(self, side_px: int) -> int:
        """Return the smallest side of its chips from which one of `side_px` can be cut."""
        for side in self.sides:
            if side >= side_px:
                return side
        raise InputError(
            f"There are no {self.name} chips of {side_px} px or more.",
            f"Cut some with headwater chips, or use smaller ones (there are {self.sides or 'none'}).",
        )

    def draw(self, side_px: int, max_missing_fraction: float, rng: np.random.Generator) -> Chip:
        """Draw a chip, all regions with equal probability, and cut it to size at a random even place."""
        by_region = self._by_region[self.side_for(side_px)]
        shards = by_region[int(rng.integers(len(by_region)))]
        index = int(rng.integers(sum(shard.chips for shard in shards)))
        for shard in shards:
            if index < shard.chips:
                break
            index -= shard.chips
        row, column = (2 * int(rng.integers((shard.side_px - side_px) // 2 + 1)) for _ in range(2))
        return window_of(shard.chip(index), row, column, side_px, side_px)

    def each(self, side_px: int) -> Iterator[Chip]:
        """Yield the complete chips of the smallest side that holds `side_px`."""
        side = self.side_for(side_px)
        for shard in self.shards:
            if shard.side_px == side:
                yield from (shard.chip(index) for index in range(shard.chips))

    @cached_property
    def _by_region(self) -> dict[int, list[list[Shard]]]:
        regions = dict.fromkeys(shard.region for shard in self.shards)
        grouped = {
            side: [
                [shard for shard in self.shards if (shard.region, shard.side_px) == (region, side)]
                for region in regions
            ]
            for side in self.sides
        }
        return {side: [shards for shards in groups if shards] for side, groups in grouped.items()}


@dataclass(frozen=True)
class ChipStore:
    """A manifest and its shards."""

    sha256: str
    """sha256 of the manifest, which contains the hashes of all shards."""
    shards: tuple[Shard, ...]
    """All shards."""

    @property
    def regions(self) -> dict[str, list[str]]:
        """Names of the regions of each part."""
        parts = dict.fromkeys(shard.part for shard in self.shards)
        return {part: sorted({shard.region for shard in self.shards if shard.part == part}) for part in parts}

    def part(self, name: str) -> Part:
        """Return the chips of a part."""
        return Part(name, tuple(shard for shard in self.shards if shard.part == name))


def open_chips(source: str, cache: Path) -> ChipStore:
    """Read the manifest of a folder or of an http(s) address.

    Parameters
    ----------
    source : str
        Folder or address of manifest.json.
    cache : Path
        Folder to which shards of a remote store are copied, and checked, when they are first used.

    Raises
    ------
    InputError
        There is no manifest, it is of another format, or a region is in two parts.
    """
    path = Path(source) / MANIFEST
    if _is_remote(source):
        path = cache / MANIFEST
        with atomic_path(path) as temporary:
            _download(f"{source.rstrip('/')}/{MANIFEST}", temporary, _MAX_MANIFEST_BYTES)
    manifest = read_json(path)
    try:
        if manifest["format"] != FORMAT:
            raise ValueError(f"format {manifest['format']}")
        rows = [{key: row[key] for key in _ROW} for row in manifest["shards"]]
        shards = tuple(Shard(source=source, cache=cache, **_checked(row)) for row in rows)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is not a manifest of chips ({error}).", "Cut the chips with headwater chips."
        ) from error
    part_of: dict[str, str] = {}
    for shard in shards:
        if part_of.setdefault(shard.region, shard.part) != shard.part:
            raise InputError(
                f"{path} has the region {shard.region} in two parts.", "Give each region to one part, then cut again."
            )
    return ChipStore(file_sha256(path), shards)


_ROW = ("file", "part", "region", "side_px", "chips", "sha256")


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a manifest, which may come from an untrusted source, if its values are valid."""
    file = PurePosixPath(row["file"])
    if file.is_absolute() or ".." in file.parts:
        raise ValueError(f"it leads to {file}, outside its folder")
    if any(type(row[key]) is not int or row[key] < 1 for key in ("side_px", "chips")):
        raise ValueError(f"{file} has no valid side or number of chips")
    if not _SHA256.fullmatch(row["sha256"]):
        raise ValueError(f"{file} has no sha256")
    return row


def _is_remote(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _download(url: str, path: Path, max_bytes: int) -> None:
    try:
        with requests.get(url, stream=True, timeout=_TIMEOUT_S) as reply, path.open("wb") as file:
            reply.raise_for_status()
            for block in reply.iter_content(1 << 20):
                file.write(block)
                if file.tell() > max_bytes:
                    raise WorkError(f"{url} is larger than the {max_bytes} bytes allowed.", "Check the address.")
    except requests.RequestException as error:
        raise WorkError(f"{url} cannot be read ({error}).", "Check the address and the network.") from error
