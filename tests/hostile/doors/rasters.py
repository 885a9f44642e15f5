"""Rasters of scenes and elevation: headers, tags, sidecars, other formats; on disk and over the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from random import Random
from typing import Any

from hostile import place, tiff
from hostile.doors.catalogs import file_reply, serve_files
from hostile.lab import Bench, Input
from hostile.mutation import DAMAGES
from hostile.place import Command
from hostile.server import Answer, Reply

NAN, INF = float("nan"), float("inf")
TAGS: dict[int, tuple[Any, ...]] = {
    tiff.WIDTH: (0, 1, 32_768, 65_535, 2**31 - 1, 2**32 - 1),
    tiff.HEIGHT: (0, 1, 32_768, 2**31 - 1),
    tiff.BITS: (0, 1, 8, 32, 64, 65_535),
    tiff.COMPRESSION: (0, 1, 2, 5, 6, 7, 34_712, 50_001, 65_535),
    tiff.PHOTOMETRIC: (0, 3, 6, 65_535),
    tiff.SAMPLES: (0, 2, 1000, 65_535),
    tiff.PREDICTOR: (0, 1, 3, 99),
    tiff.TILE_WIDTH: (0, 1, 16, 32_768, 2**31),
    tiff.TILE_HEIGHT: (0, 1, 16, 32_768, 2**31),
    tiff.TILE_OFFSETS: (0, [0] * 4, [2**32 - 1] * 4, [8] * 4),
    tiff.TILE_BYTES: (0, [0] * 4, [2**32 - 1] * 4, [1] * 4),
    tiff.SAMPLE_FORMAT: (0, 2, 3, 5, 6),
    tiff.PIXEL_SCALE: (
        (0.0, 0.0, 0.0), (NAN, NAN, 0.0), (INF, 1.0, 0.0), (-10.0, -10.0, 0.0), (1e300, 1e300, 0.0),
        (1e-300, 1e-300, 0.0), (10.0,),
    ),
    tiff.TIEPOINT: (
        (0.0, 0.0, 0.0, NAN, NAN, 0.0), (0.0, 0.0, 0.0, 1e300, 1e300, 0.0), (0.0, 0.0, 0.0, INF, 1.0, 0.0),
        (0.0, 0.0, 0.0, 1000.0, 1000.0, 0.0),
    ),
    tiff.GEO_KEYS: ([1, 1, 0, 1, 3072, 0, 1, 65_535], [1, 1, 0, 60_000], [0] * 4, [1, 1, 0, 1, 1024, 0, 1, 2]),
    tiff.GDAL_NODATA: ("nan", "inf", "-1e999", "", "x", "2000", "9" * 100_000),
    tiff.GDAL_METADATA: (
        "", "<", "<GDALMetadata>" * 50_000,
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><GDALMetadata><Item name="X">&a;</Item></GDALMetadata>',
        '<GDALMetadata><Item name="SCALE" sample="0" role="scale">nan</Item></GDALMetadata>',
        '<GDALMetadata><Item name="OFFSET" sample="0" role="offset">1e308</Item></GDALMetadata>',
        '<GDALMetadata><Item name="OVERVIEW_FILE" domain="OVERVIEWS">{folder}/secret.tif</Item></GDALMetadata>',
        '<GDALMetadata><Item name="OVERVIEW_FILE" domain="OVERVIEWS">/vsicurl/{canary}/x.tif</Item></GDALMetadata>',
        '<GDALMetadata><Item name="OVERVIEW_FILE" domain="OVERVIEWS">:::BASE:::.ovr</Item></GDALMetadata>',
    ),
}  # fmt: skip
_VRT = (
    '<VRTDataset rasterXSize="64" rasterYSize="64"><SRS>EPSG:4326</SRS>'
    "<GeoTransform>11.95, 0.001, 0, 8.05, 0, -0.001</GeoTransform>"
    '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename>{}</SourceFilename><SourceBand>1'
    "</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
)
FORMATS: dict[str, str] = {
    "a VRT of a file": _VRT.format("{folder}/secret.tif"),
    "a VRT of another server": _VRT.format("/vsicurl/{canary}/x.tif"),
    "a WMS description": "<GDAL_WMS><Service name='TMS'><ServerUrl>{canary}/${{z}}/${{x}}/${{y}}</ServerUrl></Service>"
    "<DataWindow><UpperLeftX>-180</UpperLeftX></DataWindow></GDAL_WMS>",
    "a GDAL algorithm": '{{"type": "gdal_streamed_alg", "command_line": "gdal raster read {folder}/secret.tif"}}',
    "an ASCII grid": "ncols 100000\nnrows 100000\nxllcorner 0\nyllcorner 0\ncellsize 1\n1",
    "text": "x" * 1000,
    "nothing": "",
}
"""What is in a file that should be a GeoTIFF; {folder} and {canary} are those of the canary."""


def _fill(text: str, bench: Bench) -> str:
    return text.replace("{folder}", str(bench.canary.folder)).replace("{canary}", bench.canary.url)


def _tags(tags: dict[int, tuple[Any, ...]] = TAGS) -> Iterator[tuple[str, int, Any]]:
    for tag, values in tags.items():
        for value in values:
            yield f"{tiff.NAMES[tag]} = {str(value)[:60]}", tag, value


def _set_tag(bench: Bench, *, files: tuple[str, ...], tag: int, value: Any) -> None:
    value = _fill(value, bench) if isinstance(value, str) else value
    for file in files:
        bench.change(file, lambda content: tiff.with_tag(content, tag, value))


def _set_next(bench: Bench, *, files: tuple[str, ...], offset: int | None) -> None:
    for file in files:
        bench.change(file, lambda content: tiff.with_next(content, offset))


def _set_content(bench: Bench, *, files: tuple[str, ...], text: str) -> None:
    for file in files:
        bench.replace(file, _fill(text, bench).replace("{{", "{").replace("}}", "}").encode())


def _set_beside(bench: Bench, *, files: tuple[str, ...], end: str, text: str) -> None:
    for file in files:
        bench.replace(f"{file}{end}", _fill(text, bench).encode())


def _damage(bench: Bench, *, files: tuple[str, ...], name: str, seed: int) -> None:
    for file in files:
        bench.change(file, lambda content: DAMAGES[name](content, Random(seed)))


BESIDE = {
    "overviews that are a VRT": (".ovr", _VRT.format("{folder}/secret.tif")),
    "a mask that is a VRT": (".msk", _VRT.format("/vsicurl/{canary}/x.tif")),
    "metadata with an overview file": (
        ".aux.xml",
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">{folder}/secret.tif</MDI></Metadata>'
        "</PAMDataset>",
    ),
    "metadata that never ends": (".aux.xml", "<PAMDataset>" * 50_000),
}


def _inputs(door: str, files: tuple[str, ...], commands: tuple[Command, ...], random: Random) -> Iterator[Input]:
    def one(what: str, make: Callable[..., None], of: tuple[str, ...] = files, **facts: Any) -> Input:
        return Input(door, what, commands, partial(make, files=of, **facts))

    fixed = [one(name, _set_tag, tag=tag, value=value) for name, tag, value in _tags()]
    fixed += [one(f"next directory at {offset}", _set_next, offset=offset) for offset in (None, 1, 2**32 - 1)]
    fixed += [one(name, _set_content, text=text) for name, text in FORMATS.items()]
    fixed += [one(name, _set_beside, end=end, text=text) for name, (end, text) in BESIDE.items()]
    # A short version takes some from everywhere.
    random.shuffle(fixed)
    yield from fixed
    for _ in count():
        for name in DAMAGES:
            of = (random.choice(files),)
            yield one(f"{name} of {of[0]}", _damage, of, name=name, seed=random.randrange(2**32))


def scenes(random: Random) -> Iterator[Input]:
    """Yield scenes on disk, read by select and composite."""
    yield from _inputs("scenes", place.BANDS, (place.SELECT, place.COMPOSE), random)


def elevation_tiles(random: Random) -> Iterator[Input]:
    """Yield tiles of an elevation model on disk."""
    yield from _inputs("elevation", (place.TILE,), (place.ELEVATE,), random)


REMOTE_TAGS = {
    tag: TAGS[tag] for tag in (tiff.GDAL_METADATA, tiff.WIDTH, tiff.TILE_WIDTH, tiff.TILE_OFFSETS, tiff.PIXEL_SCALE)
}
_CATALOG = place.search("catalog")


def remote_rasters(random: Random) -> Iterator[Input]:
    """Yield rasters on a server."""

    def one(what: str, make: Callable[..., None] | None, of: tuple[str, ...], **facts: Any) -> Input:
        def prepare(bench: Bench) -> None:
            if make is not None:
                make(bench, files=of, **facts)
            serve_files(bench)

        chain = (_CATALOG, place.SELECT, place.ELEVATE if of == (place.TILE,) else place.COMPOSE)
        # A damaged file is read several times: it may be the network.
        return Input("remote", what, chain, prepare, answer=_files, slow=not what.startswith(("sound", "metadata")))

    fixed = [one(name, _set_tag, place.BANDS, tag=tag, value=value) for name, tag, value in _tags(REMOTE_TAGS)]
    fixed += [
        one(f"{name}, elevation", _set_tag, (place.TILE,), tag=tag, value=value)
        for name, tag, value in _tags({tiff.GDAL_METADATA: TAGS[tiff.GDAL_METADATA]})
    ]
    fixed += [one(name, _set_content, place.BANDS, text=text) for name, text in FORMATS.items()]
    fixed += [one(name, _set_beside, place.BANDS, end=end, text=text) for name, (end, text) in BESIDE.items()]
    random.shuffle(fixed)
    yield one("sound", None, place.BANDS)
    yield from fixed
    for _ in count():
        for name in DAMAGES:
            of = (random.choice(place.BANDS),)
            yield one(f"{name} of {of[0]}", _damage, of, name=name, seed=random.randrange(2**32))


def _files(bench: Bench) -> Answer:
    def answer(method: str, path: str, body: bytes) -> Reply:
        return file_reply(bench, path)

    return answer
