"""Texts of a configuration and names of folders that a shell, Snakemake or Python would read as more than text."""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import geopandas as gpd
import yaml
from shapely import box

from headwater.cli.entry import build_parser
from support.small_run import LIGHT_CHECKPOINT, command, environment

NASTY = """a b;touch X $(touch X)`touch X`&|<>'q' \"d\" [1]*~# %s\\\\"""
"""Whatever a file name may contain: no part of it may be run, split, matched or lost."""
RECORDER = """#!/bin/sh
# Records its arguments, one to a line of NULs, and makes the files that its step would write.
printf '%s\\0' "$@" > "$(mktemp "$RECORDS/XXXXXXXX")"
step=$1 previous=
for word do
  case "$previous" in
    --out|--*-out|--checks|--summary|--page|--map) mkdir -p -- "$(dirname -- "$word")" && touch -- "$word" ;;
  esac
  case "$step $previous" in
    "report --page") for n in network sources composite; do touch -- "$(dirname -- "$word")/$n.png"; done ;;
    "report --map") mkdir -p -- "${word%.html}" ;;
    "network --out") for n in waterways.gpkg waterways.qml schema.json; do touch -- "$(dirname -- "$word")/$n"; done ;;
  esac
  previous=$word
done
"""


def recorded_run(base, folder):
    """Run all rules of the workflow in a folder with a `headwater` that records its arguments; return these."""
    (base / "bin").mkdir()
    (base / "bin/headwater").write_text(RECORDER)
    (base / "bin/headwater").chmod(0o755)
    (base / "records").mkdir()
    known = environment()
    known |= {"PATH": f"{base / 'bin'}:{known['PATH']}", "RECORDS": str(base / "records")}
    done = subprocess.run(
        [*command(folder, cores=2), "--quiet", "all", "--", "all", "refresh"],
        env=known, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return [path.read_bytes().decode().split("\0")[:-1] for path in (base / "records").iterdir()]


def configure_hostile(folder, name):
    """Write a configuration whose every text is hostile, with the files it names."""
    (folder / name / "items").mkdir(parents=True)
    columns = {"HYBAS_ID": [7], "LINKNO": [1], "DSLINKNO": [-1], "strmOrder": [1], "streamID": [1]}
    place = gpd.GeoDataFrame(columns, geometry=[box(10, 5, 10.1, 5.1)], crs=4326)
    place.to_file(folder.parent / "place.gpkg")
    for file in ("basins.gpkg", "s_7.gpkg", "c_7.gpkg", "lakes.gpkg"):
        shutil.copy(folder.parent / "place.gpkg", folder / name / file)
    for end in (".safetensors", ".json"):
        shutil.copy(Path(LIGHT_CHECKPOINT).with_suffix(end), folder / name / f"w{end}")
    config = {
        "results": f"{name}/out",
        "keep": ["composite"],
        "basins": {"polygons": [f"{name}/basins.gpkg"], "ids": ["7"]},
        "grid": {"cell_degrees": 0.1},
        "catalog": {
            "url": f"{name}/items", "signing": "token", "token_url": f"-{name}{{u}}",
            "sentinel2_collection": "s2:a/b~c.d_e-1", "dem_collections": ["dem.a", "dem.b"],
            "fallback": {"url": "https://x.test/{u}", "signing": "token", "token_url": f"-{name}{{u}}"},
        },
        "search": {"datetime": "2023-01-01/2023-12-31", "exclude": [NASTY]},
        "backbone": {
            "kind": "tdx", "streams": f"{name}/s_{{basin_id}}.gpkg", "catchments": f"{name}/c_{{basin_id}}.gpkg",
        },
        "predict": {"checkpoint": f"{name}/w.safetensors"},
        "network": {"lakes": f"{name}/lakes.gpkg", "formats": ["gpkg"]},
        "vectorize": {"water_polygons": True},
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def test_texts_and_names_of_folders_reach_each_step_unchanged(tmp_path):
    """Each rule is run, with a name in each of its files that a shell, a glob or a format string would change."""
    folder = tmp_path / f"-{NASTY}{{x}}\n"
    folder.mkdir()
    configure_hostile(folder, NASTY)
    calls = recorded_run(tmp_path, folder)
    assert not list(tmp_path.rglob("X"))
    assert Counter(words[0] for words in calls) == {
        "plan": 1, "search": 2, "select": 2, "composite": 1, "elevation": 1, "predict": 1, "backbone": 1,
        "mosaic": 1, "vectorize": 1, "network": 1, "report": 1, "catalog": 1,
    }  # fmt: skip
    starts = (NASTY, f"--url={NASTY}/items", f"--token-url=-{NASTY}{{u}}")
    for words in calls:
        build_parser(words[0]).parse_args(words)
        fallback = [word.removeprefix("--fallback=") for word in words if word.startswith("--fallback=")]
        assert [json.loads(text)["token_url"] for text in fallback] in ([], [f"-{NASTY}{{u}}"])
        assert bool(fallback) == (words[0] in ("search", "select", "composite", "elevation"))
        of_texts = [word for word in words if "touch" in word and not word.startswith("--fallback=")]
        assert of_texts
        assert all(word.startswith(starts) and word.count("touch") == NASTY.count("touch") for word in of_texts)
