"""What another value of each setting runs again: a table of all settings, held against the rules and the reference.

Snakemake reruns a step when its tracked params differ; `headwater.project.workflow.Workflow.options` makes them. What
settings that name files rerun is tried on a finished run (tests/workflow/test_incremental.py).
"""

import re
from copy import deepcopy
from itertools import accumulate

import pytest
import yaml

from headwater.project.config import Config, check_config
from headwater.project.reference import config_schema
from headwater.project.workflow import Workflow
from support.places import ROOT

NOTHING, REFUSED = "no", "refused"
CHANGES = {
    "results": ("elsewhere", "all, in the new folder"),
    "paths_from": ("config", NOTHING),
    "keep": (["probability"], "report, and the steps of a raster that is not there"),
    "max_cells": (2000, NOTHING),
    "confirm": (True, NOTHING),
    "basins.polygons": ("other.gpkg", "plan"),
    "basins.ids": (["7020038340", "7020046750"], "the new basins"),
    "fetch.enabled": (True, NOTHING),
    "fetch.max_gb": (2.0, NOTHING),
    "fetch.folder": ("elsewhere", NOTHING),
    "fetch.addresses": (["tdx-hydro=https://example.org/tdx"], NOTHING),
    "fetch.hosts": (["data.example.org"], NOTHING),
    "fetch.patience_s": (60, NOTHING),
    "grid.cell_degrees": (0.5, REFUSED),
    "grid.margin_px": (32, REFUSED),
    "catalog.preset": ("planetary-computer", NOTHING),
    "catalog.fallback": ("earth-search", NOTHING),
    "catalog.url": ("https://example.org/stac", "search"),
    "catalog.sentinel2_collection": ("sentinel-2-c1-l2a", "search"),
    "catalog.dem_collections": (["cop-dem-glo-90"], "search"),
    "catalog.signing": ("none", NOTHING),
    "catalog.token_url": ("https://example.org/token", NOTHING),
    "catalog.hosts": (["data.example.org"], NOTHING),
    "search.datetime": ("2022-01-01/2022-12-31", "search"),
    "search.years_back": (0, "search"),
    "search.max_cloud_cover": (50, "search"),
    "search.exclude": (["S2A_MSIL2A_20230610"], "search"),
    "search.slice_days": (7, NOTHING),
    "search.workers": (1, NOTHING),
    "search.timeout_s": (5, NOTHING),
    "search.patience_s": (60, NOTHING),
    "select.max_scenes": (3, "select"),
    "select.cloud_steps": ([20, 101], "select"),
    "select.min_gain": (0.2, "select"),
    "select.stop_uncovered": (0.02, "select"),
    "select.missing_scl": ("refuse", "select"),
    "select.max_left_out": (0.1, NOTHING),
    "composite.max_left_out": (0.1, NOTHING),
    "composite.method": ("median", "composite"),
    "composite.dilate_px": (5, "composite"),
    "composite.mask": ("omnicloudmask", "composite"),
    "composite.allow_cloud": (True, "composite"),
    "composite.reader": ("odc", "composite"),
    "elevation.missing": ("zero", "elevation"),
    "predict.source": ("published", "search and predict"),
    "predict.published": ("https://example.org/raster", "predict"),
    "predict.checkpoint": ("weights.safetensors", "predict"),
    "predict.tile_px": (1024, "predict"),
    "predict.overlap_px": (128, "predict"),
    "predict.device": ("cpu", NOTHING),
    "predict.batch_size": (2, NOTHING),
    "predict.dtype": ("float32", "predict"),
    "predict.compile": (True, NOTHING),
    "predict.threads": (2, NOTHING),
    "predict.tta": (True, "predict"),
    "predict.max_missing": (0.9, "predict"),
    "backbone.kind": ("dem", "backbone"),
    "backbone.streams": ("other_{basin_id}.gpkg", "backbone"),
    "backbone.catchments": ("other_{basin_id}.gpkg", "backbone"),
    "backbone.regions": (["7020038340"], "backbone"),
    "backbone.min_area_km2": (2.0, "backbone"),
    "backbone.coasts": (False, "backbone"),
    "backbone.coast_min_area_km2": (0.5, "backbone"),
    "vectorize.threshold": (0.6, "vectorize"),
    "vectorize.floor": (0.2, "vectorize"),
    "vectorize.min_component_px": (8, "vectorize"),
    "vectorize.cost_below_floor": (5.0, "vectorize"),
    "vectorize.max_cost_per_px": (8.0, "vectorize"),
    "vectorize.max_cost": (200.0, "vectorize"),
    "vectorize.max_rise_m": (1.0, "vectorize"),
    "vectorize.cost_limits": ([8.0, 16.0], "vectorize"),
    "vectorize.water_polygons": (True, "vectorize"),
    "vectorize.method": ("published", "vectorize"),
    "network.lakes": ("lakes.gpkg", "network"),
    "network.formats": (["gpkg"], "network"),
}
"""Setting: another value, and the first step that it runs again."""
RULES = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))


def settings_in(schema, prefix=""):
    for name, rule in schema["properties"].items():
        if "properties" in rule:
            yield from settings_in(rule, f"{name}.")
        else:
            yield prefix + name, rule


def tracked_sections():
    """Return the sections that the rule of each step tracks, read from the rules."""
    found = {}
    starts = [match.end() for match in re.finditer(r"\bcommand\(\s*(?=[\"R])", RULES)]
    for start in starts:
        depth = accumulate(({"(": 1, ")": -1}.get(letter, 0) for letter in RULES[start:]), initial=1)
        body = RULES[start : start + next(place for place, open in enumerate(depth) if open == 0)]
        step = re.match(r'"(\w+) |RUN\.(\w+)_command', body)
        text = re.sub(r"untracked=\[.*?\]", "", body)
        found[step[1] or step[2]] = [word for word in re.findall(r'"(\w+)"', text) if word in Config.model_fields]
    return found


def changed(setting, value):
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    section, _, name = setting.rpartition(".")
    other = deepcopy(config)
    (other.setdefault(section, {}) if section else other)[name] = value
    return config, other


SCHEMA = dict(settings_in(config_schema()))


def test_the_table_has_every_setting():
    assert set(CHANGES) == set(SCHEMA)
    tracked = tracked_sections()
    assert {"plan", "search", "select", "composite", "elevation", "predict", "backbone", "vectorize"} <= set(tracked)
    assert tracked["search"] == ["catalog", "search"]


@pytest.mark.parametrize("setting", CHANGES)
def test_another_value_reruns_what_the_reference_says(setting, monkeypatch):
    value, first = CHANGES[setting]
    rule = SCHEMA[setting]
    stated = rule.get("reruns_from", setting.partition(".")[0]) if rule.get("reruns", True) else NOTHING
    assert stated == first
    monkeypatch.setattr("sys.argv", ["snakemake", "--lint"])  # without the files of the basin
    before, after = (Workflow(config) for config in changed(setting, value))
    assert check_config(changed(setting, value)[0]) != check_config(changed(setting, value)[1])
    rerun = {
        step for step, sections in tracked_sections().items() if before.options(*sections) != after.options(*sections)
    }
    if setting == "predict.source":
        # Without the options of the network and of scenes; the commands change as well.
        assert rerun == {"search", "predict"}
        assert before.predict_command != after.predict_command
    elif rule.get("is_file") or first == NOTHING:
        assert rerun == set()
    else:
        assert rerun == {"plan" if first == REFUSED else first}
