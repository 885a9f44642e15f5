"""The table of data sources: where each file is, how large, under which license, and what it should contain.

None of these addresses could be tried where Headwater is developed; the files behind them are described from public
documentation. To refresh a row, set its version and addresses, and delete the files of that source from the data
folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from headwater.core.errors import InputError
from headwater.fetch.settings import FetchSettings
from headwater.geo.basins import check_basin_id, tdx_header_numbers

HYDROBASINS, TDX_HYDRO, HYDROLAKES, WATERNET = "hydrobasins", "tdx-hydro", "hydrolakes", "waternet"
"""Names of the sources."""
HYDROBASINS_REGIONS: Mapping[str, str] = dict(
    zip("123456789", ("af", "eu", "si", "as", "au", "sa", "na", "ar", "gr"), strict=True)
)
"""Region of HydroBASINS by the first digit of HYBAS_ID."""
_STREAMS, _CATCHMENTS = "TDX_streamnet_{basin_id}_01.gpkg", "TDX_streamreach_basins_{basin_id}_01.gpkg"
_MB, _GB = 1_000_000, 1_000_000_000


@dataclass(frozen=True)
class Part:
    """One kind of file of a source; its texts may contain {basin_id}, {region}, {part} and {file}."""

    name: str
    """Name of the file in the data folder."""
    addresses: tuple[str, ...]
    """Where it is, the first that works."""
    kind: Literal["gpkg", "shapefile"]
    """GeoPackage, or a zip file of one shapefile."""
    columns: tuple[tuple[str, ...], ...]
    """Columns of its table: of each group one is needed."""
    estimate: int
    """Bytes that are announced where the size is not known."""
    sizes: Mapping[str, int]
    """Known bytes, by the file's name."""
    max_bytes: int
    """Largest file that is accepted."""
    word: str = ""
    """What an address with {part} calls it."""


@dataclass(frozen=True)
class Source:
    """A data set, or published weights."""

    name: str
    """Word of the command line."""
    title: str
    """What it is."""
    version: str
    """Version, or date of publication."""
    license: str
    """Name of the license, or its terms in a few words."""
    citation: str
    """What to cite."""
    page: str
    """Where people read about it."""
    parts: tuple[Part, ...] = ()
    """Its files; none for weights, whose files the repository lists."""
    address: str = ""
    """Server of a repository that lists its files (weights)."""
    hosts: tuple[str, ...] = ()
    """Hosts that its addresses may redirect to."""
    refresh: str = ""
    """How to get a newer version."""


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be fetched."""

    source: Source
    """Where it belongs."""
    part: Part
    """What it is."""
    name: str
    """Its name in the data folder."""
    addresses: tuple[str, ...]
    """Addresses, tried in this order."""
    region: str | None = None
    """Id of the TDX-Hydro region that it is of; None for other sources."""

    @property
    def known_size(self) -> int | None:
        """Bytes that the table states."""
        return self.part.sizes.get(self.name)


SOURCES: Mapping[str, Source] = {
    HYDROBASINS: Source(
        name=HYDROBASINS,
        title="HydroBASINS level 2, standard: polygons of basins",
        version="1c",
        license="HydroSHEDS license: free, with attribution (https://www.hydrosheds.org/products/hydrobasins)",
        citation="Lehner, B. and Grill, G. (2013), Hydrological Processes 27(15), doi:10.1002/hyp.9740.",
        page="https://www.hydrosheds.org/products/hydrobasins",
        parts=(
            Part(
                name="hybas_{region}_lev02_v1c.zip",
                addresses=("https://data.hydrosheds.org/file/HydroBASINS/standard/{file}",),
                kind="shapefile",
                columns=(("HYBAS_ID",),),
                estimate=10 * _MB,
                sizes={},
                max_bytes=500 * _MB,
            ),
        ),
        refresh="a new version has another file name (v1c); change it here",
    ),
    TDX_HYDRO: Source(
        name=TDX_HYDRO,
        title="TDX-Hydro: streams and their catchments, by region (HydroBASINS level 2)",
        version="01",
        license="public (U.S. National Geospatial-Intelligence Agency)",
        citation="Carlson, K., Fort, M., Montgomery, J. et al. (2024), TDX-Hydro, National Geospatial-Intelligence"
        " Agency.",
        page="https://earth-info.nga.mil",
        parts=(
            Part(
                name=_STREAMS,
                addresses=("https://earth-info.nga.mil/php/download.php?file={basin_id}-{part}-gpkg",),
                word="streamnet",
                kind="gpkg",
                columns=(("LINKNO",), ("DSLINKNO",)),
                estimate=1_680 * _MB,
                sizes={"TDX_streamnet_7020000010_01.gpkg": 1_676_398_592},
                max_bytes=50 * _GB,
            ),
            Part(
                name=_CATCHMENTS,
                addresses=("https://earth-info.nga.mil/php/download.php?file={basin_id}-{part}-gpkg",),
                word="basins",
                kind="gpkg",
                columns=(("streamID", "LINKNO", "link_id"),),
                estimate=5_910 * _MB,
                sizes={"TDX_streamreach_basins_7020000010_01.gpkg": 5_907_767_296},
                max_bytes=100 * _GB,
            ),
        ),
        refresh="files have the version in their names (_01)",
    ),
    HYDROLAKES: Source(
        name=HYDROLAKES,
        title="HydroLAKES: polygons of lakes",
        version="1.0",
        license="CC BY 4.0",
        citation="Messager, M.L. et al. (2016), Nature Communications 7, doi:10.1038/ncomms13603.",
        page="https://www.hydrosheds.org/products/hydrolakes",
        parts=(
            Part(
                name="HydroLAKES_polys_v10_shp.zip",
                addresses=("https://data.hydrosheds.org/file/hydrolakes/{file}",),
                kind="shapefile",
                columns=(("Hylak_id",),),
                estimate=820 * _MB,
                sizes={},
                max_bytes=5 * _GB,
            ),
        ),
        refresh="a new version has another file name (v10); change it here",
    ),
    WATERNET: Source(
        name=WATERNET,
        title="WaterNet: published weights for the real world",
        version="doi:10.7910/DVN/YY2XMG, latest version",
        license="CC BY-SA 4.0",
        citation="Pierson, M., Fankhauser, S. and Mehrabi, Z. (2026), arXiv:2412.00050; doi:10.7910/DVN/YY2XMG.",
        page="https://doi.org/10.7910/DVN/YY2XMG",
        address="https://dataverse.harvard.edu",
        hosts=("dvn-cloud.s3.amazonaws.com", "dvn-cloud.s3.us-east-1.amazonaws.com"),
        refresh="`headwater models fetch waternet --refresh` asks the repository for its latest version",
    ),
}
"""All sources, by name."""
WATERNET_DOI = "doi:10.7910/DVN/YY2XMG"


def get_source(name: str) -> Source:
    """Return a source of the table.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if name not in SOURCES:
        raise InputError(f"There is no source {name!r}.", f"Use one of: {', '.join(SOURCES)}.")
    return SOURCES[name]


def remote_files(name: str, settings: FetchSettings, *, basin_ids: Iterable[str] = ()) -> list[RemoteFile]:
    """Return the files of a source.

    Parameters
    ----------
    name : str
        Source.
    settings : FetchSettings
        For addresses that replace those of the table.
    basin_ids : iterable of str
        HYBAS_ID of the basins that they are for; of HydroBASINS, all regions if there is none.

    Raises
    ------
    InputError
        There is no such source, or a basin is not of HydroBASINS level 2.
    """
    source, ids = get_source(name), list(dict.fromkeys(basin_ids))
    if name == WATERNET:
        raise InputError("Weights are not fetched this way.", "Use `headwater models fetch waternet`.")
    if name == TDX_HYDRO and not ids:
        raise InputError("TDX-Hydro has files for each region, and none is named.", "Give --basin HYBAS_ID.")
    own = settings.addresses_of(name)
    for basin_id in ids:
        # Another server may have files of other regions than the 62.
        check_basin_id(basin_id) if own and name == TDX_HYDRO else check_region(basin_id)
    if name == TDX_HYDRO:
        fills: list[dict[str, str]] = [{"basin_id": basin_id} for basin_id in ids]
    elif name == HYDROBASINS:
        digits = sorted({basin_id[0] for basin_id in ids}) or sorted(HYDROBASINS_REGIONS)
        fills = [{"region": HYDROBASINS_REGIONS[digit]} for digit in digits]
    else:
        fills = [{}]
    return [_file(source, part, fill, own) for fill in fills for part in source.parts]


def is_region(basin_id: str) -> bool:
    """Whether an id is a region of HydroBASINS level 2, for which TDX-Hydro has files."""
    return basin_id in tdx_header_numbers()


def check_region(basin_id: str) -> None:
    """Refuse the id of a basin that is not of HydroBASINS level 2.

    Raises
    ------
    InputError
        It is not among the 62 regions.
    """
    if not is_region(basin_id):
        raise InputError(
            f"{basin_id[:100]!r} is not a HYBAS_ID of HydroBASINS level 2, by which the files are named.",
            "Use one of the 62 ids of level 2, such as 7020038340.",
        )


def _file(source: Source, part: Part, fill: Mapping[str, str], own: Sequence[str]) -> RemoteFile:
    name = _filled(part.name, fill)
    fields = {**fill, "part": part.word, "file": name}
    addresses = []
    for address in own:
        if "{" not in address:
            # A folder of files under their own names.
            address = f"{address.rstrip('/')}/{{file}}"
        addresses.append(_filled(address, fields))
    return RemoteFile(
        source=source,
        part=part,
        name=name,
        addresses=tuple(addresses) or tuple(_filled(address, fields) for address in part.addresses),
        region=fill.get("basin_id"),
    )


def _filled(text: str, fields: Mapping[str, str]) -> str:
    for name, value in fields.items():
        text = text.replace(f"{{{name}}}", value)
    return text
