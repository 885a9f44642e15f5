"""Presets: what is known of a public catalog, under a name that `catalog.preset` and `catalog.fallback` take.

A preset is one value of `Preset`; other packages register theirs in the entry point group "headwater.presets". What
holds for a host or a bucket, whichever catalog names it, is in `headwater.stac.hosts` and
`headwater.stac.public_buckets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from headwater.core.errors import InputError
from headwater.core.plugins import Registry
from headwater.core.sentinel2 import REFLECTANCE_BANDS, SCL

DEM_ASSET = "data"
"""Name of the file of an elevation tile."""
PINNED_ASSETS = (*REFLECTANCE_BANDS, SCL, DEM_ASSET)
"""Files that are pinned of an item, by the names of the Planetary Computer, which are those of the bands."""
COLOR_NAMES: Mapping[str, str] = {"B08": "nir", "B04": "red", "B03": "green", "B02": "blue", "SCL": "scl"}
"""Names of Earth Search. A pin has columns for them and for `PINNED_ASSETS`."""
OFFSET_REMOVED = "earthsearch:boa_offset_applied"
"""Property of items of Earth Search: true where the offset of baseline 04.00 was subtracted from the files already.

It is sometimes wrong. Where it is true nothing is subtracted: scenes are scaled by their own mean and deviation, so an
offset that is left in changes nothing, while one that is subtracted twice makes water black. Where it is not true,
`headwater.imagery.scene_statistics` looks at the pixels before it subtracts.
"""


@dataclass(frozen=True)
class Preset:
    """What a configuration need not say of a catalog."""

    url: str
    """Landing page of its STAC API."""
    sentinel2_collection: str
    """Collection of Sentinel-2 L2A scenes."""
    dem_collections: tuple[str, ...]
    """Collections of elevation tiles, best first."""
    assets: Mapping[str, str] = field(default_factory=dict)
    """Its names of files, by those of `PINNED_ASSETS`; without an entry the same."""
    signing: str = "none"
    """How its files are signed, see `headwater.stac.signing.SIGNERS`."""
    token_url: str | None = None
    """Token endpoint, for signing "token"."""
    hosts: tuple[str, ...] = ()
    """Hosts that it uses besides its own and those of `headwater.stac.hosts`."""
    account: str = ""
    """Why its files cannot be opened from its addresses, as the end of a sentence; "" if they can."""


PLANETARY_COMPUTER = Preset(
    url="https://planetarycomputer.microsoft.com/api/stac/v1",
    sentinel2_collection="sentinel-2-l2a",
    dem_collections=("cop-dem-glo-30", "cop-dem-glo-90"),
    signing="planetary_computer",
)
EARTH_SEARCH = Preset(
    url="https://earth-search.aws.element84.com/v1",
    # Not `sentinel-2-c1-l2a`: this is the collection whose items the tests read, its files are in a public bucket, and
    # their offset is subtracted and marked.
    sentinel2_collection="sentinel-2-l2a",
    dem_collections=("cop-dem-glo-30", "cop-dem-glo-90"),
    assets=COLOR_NAMES,
)
COPERNICUS_DATA_SPACE = Preset(
    url="https://stac.dataspace.copernicus.eu/v1",
    sentinel2_collection="sentinel-2-l2a",
    dem_collections=("cop-dem-glo-30-dged-cog", "cop-dem-glo-90-dged-cog"),
    assets={**{name: f"{name}_10m" for name in REFLECTANCE_BANDS}, SCL: f"{SCL}_20m"},
    account="whose files (JPEG 2000 at s3://eodata of its own S3 endpoint) are only sent to holders of S3 keys of an"
    " account, which Headwater does not use",
)

PRESETS: Registry[Preset] = Registry(
    "preset",
    group="headwater.presets",
    builtin={
        "planetary-computer": "headwater.stac.presets:PLANETARY_COMPUTER",
        "earth-search": "headwater.stac.presets:EARTH_SEARCH",
        "copernicus-data-space": "headwater.stac.presets:COPERNICUS_DATA_SPACE",
    },
)
"""Presets by name."""
_ELEVATION_NAMES = ("elevation", "dem", "DEM")
"""Names of the file of an elevation tile in catalogs without a preset."""


def asset_names(name: str) -> tuple[str, ...]:
    """Return all names that catalogs give a file, its own first.

    Parameters
    ----------
    name : str
        One of `PINNED_ASSETS`.
    """
    return _asset_names(name, PRESETS.names())


def load_preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises
    ------
    InputError
        There is none of that name, it cannot be imported, or it is something else.
    """
    preset = PRESETS.load(name)
    # Of another package: it may be anything.
    if isinstance(preset, Preset) and all(isinstance(text, str) for text in (preset.url, preset.sentinel2_collection)):
        return preset
    raise InputError(
        f"The preset {name!r} is not a headwater.stac.presets.Preset.", "Correct the package that brings it."
    )


def preset_of(url: str) -> str | None:
    """Return the name of the preset of an address, None if it is that of none."""
    return next((name for name, preset in _usable(PRESETS.names()).items() if same_address(preset.url, url)), None)


def same_address(one: str, other: str) -> bool:
    """Whether two addresses are of the same catalog."""
    return one.rstrip("/") == other.rstrip("/")


@cache
def _asset_names(name: str, presets: tuple[str, ...]) -> tuple[str, ...]:
    others = [preset.assets.get(name, name) for preset in _usable(presets).values()]
    return tuple(dict.fromkeys((name, *others, *(_ELEVATION_NAMES if name == DEM_ASSET else ()))))


@cache
def _usable(names: tuple[str, ...]) -> Mapping[str, Preset]:
    """Return presets by name, without those of broken plugins."""
    found = {}
    for name in names:
        try:
            found[name] = load_preset(name)
        except InputError:
            continue
    return found
