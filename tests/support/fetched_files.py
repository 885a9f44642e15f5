"""Small files of the sources that are fetched, and settings that find them on a server of tests."""

import hashlib
import json
import random
import zipfile

import geopandas as gpd
from shapely import box
from shapely.geometry import LineString

from headwater.fetch.settings import FetchSettings

REGION = "7020038340"
STREAMS, CATCHMENTS = f"TDX_streamnet_{REGION}_01.gpkg", f"TDX_streamreach_basins_{REGION}_01.gpkg"
HYDROBASINS = "hybas_na_lev02_v1c.zip"
HYDROLAKES = "HydroLAKES_polys_v10_shp.zip"


def write_shapefile(folder, name, column):
    """Write a zipped shapefile of one square."""
    inner = folder / "unpacked"
    inner.mkdir(exist_ok=True)
    value = int(REGION) if column == "HYBAS_ID" else 1
    table = gpd.GeoDataFrame({column: [float(value)]}, geometry=[box(-105.6, 40, -105.4, 40.2)], crs=4326)
    stem = name.removesuffix(".zip")
    table.to_file(inner / f"{stem}.shp")
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(inner.glob(f"{stem}.*")):
            archive.write(path, path.name)


def write_sources(folder):
    """Write a file of each source, of a few kilobytes."""
    folder.mkdir(parents=True, exist_ok=True)
    streams = gpd.GeoDataFrame(
        {"LINKNO": [1, 2], "DSLINKNO": [2, -1], "strmOrder": [1, 1]},
        geometry=[LineString([(-105.5, 40.1), (-105.45, 40.1)]), LineString([(-105.45, 40.1), (-105.42, 40.1)])],
        crs=4326,
    )
    streams.to_file(folder / STREAMS, layer=f"TDX_streamnet_{REGION}_01")
    squares = [box(-105.55, 40.05, -105.45, 40.15), box(-105.45, 40.05, -105.4, 40.15)]
    gpd.GeoDataFrame({"streamID": [1, 2]}, geometry=squares, crs=4326).to_file(folder / CATCHMENTS, layer="basins")
    write_shapefile(folder, HYDROBASINS, "HYBAS_ID")
    write_shapefile(folder, HYDROLAKES, "Hylak_id")
    return folder


def settings_of(server, folder, **changes):
    names = ("hydrobasins", "tdx-hydro", "hydrolakes", "waternet")
    addresses = tuple(f"{name}={server.url}" for name in names)
    return FetchSettings(
        **{"enabled": True, "folder": str(folder), "addresses": addresses, "patience_s": 5.0} | changes
    )


def damage(path, rng=None):
    """Overwrite the middle of a file."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = (rng or random.Random(1)).randbytes(64)
    path.write_bytes(content)


def write_data_set(folder, files, *, wrong_md5=False):
    """Write the answer of a Dataverse API for files of a folder, and return names by address."""
    entries, names = [], {}
    for number, (name, label) in enumerate(files.items()):
        content = (folder / name).read_bytes()
        md5 = hashlib.md5(content + b"x" * wrong_md5, usedforsecurity=False).hexdigest()
        facts = {"id": number + 1, "filename": label, "filesize": len(content), "md5": md5, "contentType": "x"}
        entries.append({"label": label, "directoryLabel": "model", "dataFile": facts})
        names[f"/api/access/datafile/{number + 1}"] = name
    version = {"versionNumber": 2, "versionMinorNumber": 1, "files": entries}
    (folder / "dataset.json").write_text(json.dumps({"status": "OK", "data": {"latestVersion": version}}))
    names["/api/datasets/:persistentId/?persistentId=doi:10.7910/DVN/YY2XMG"] = "dataset.json"
    return names
