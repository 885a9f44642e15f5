"""The workflow without running it: lint and dry runs."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from statistics import median

import geopandas as gpd
import pytest
import yaml
from shapely import box

from headwater.cli.entry import COMMANDS
from support.places import ROOT

BIN = Path(sys.executable).parent
RULES = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))


def snakemake(*arguments, cwd=ROOT):
    environment = dict(os.environ, PATH=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(
        [str(BIN / "snakemake"), *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def two_basins(tmp_path):
    polygons = [box(10, 5, 10.2, 5.1), box(20, 5, 20.1, 5.1)]
    table = gpd.GeoDataFrame({"HYBAS_ID": [1, 2]}, geometry=polygons, crs=4326)
    table.to_file(tmp_path / "basins.gpkg", layer="b")
    config = {
        "basins": {"polygons": "basins.gpkg", "ids": ["1", "2"]},
        "grid": {"cell_degrees": 0.1},
        "catalog": {"url": "http://127.0.0.1:9", "signing": "none"},
        "search": {"datetime": "2023-01-01/2023-12-31"},
        "backbone": {"kind": "dem"},
        "predict": {"checkpoint": "weights.safetensors"},
    }
    (tmp_path / "weights.safetensors").touch()
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def dry_run(folder, *arguments):
    return snakemake(
        "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--configfile",
        str(folder / "config.yaml"), "--dry-run", *arguments,
    )  # fmt: skip


def test_lint_is_clean():
    code, text = snakemake("--lint")
    assert code == 0, text
    assert "Congratulations" in text


def test_every_rule_calls_the_subcommand_of_its_name_and_has_a_log_of_its_own():
    rules = dict(re.findall(r"^use rule \w+ as (\w+) with:(.*?)(?=^use rule |^rule |\Z)", RULES, flags=re.M | re.S))
    assert len(rules) >= 11
    assert "conda:" in RULES
    for name, body in rules.items():
        # The catalog is of all basins.
        assert f'"{{basin}}/{name}' in body or name == "catalog", name
        word = {"refresh_items": "search"}.get(name, name)
        assert word in COMMANDS
        assert f'"{word} ' in body or f"**{word.upper()}," in body or f"{word}_command" in body, name


def test_rules_are_short_sentences():
    lengths = {}
    workflow = (ROOT / "Snakefile").read_text() + RULES
    for text in re.findall(r"^(?:use )?rule [^\n]*:\n(?:(?:    [^\n]*)?\n)*", workflow, flags=re.M):
        lines = [line for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]
        lengths[lines[0]] = len(lines)
    assert max(lengths.values()) <= 24, lengths
    assert median(lengths.values()) <= 14, lengths
    assert len((ROOT / "workflow/rules/common.smk").read_text().splitlines()) <= 120


def test_a_dry_run_plans_each_step_once_per_cell_or_basin(two_basins):
    code, text = dry_run(two_basins)
    assert code == 0, text
    counts = dict(re.findall(r"^(\w+) +(\d+)$", text, flags=re.M))
    for step in ("select", "composite", "elevation", "predict", "vectorize"):
        assert counts[step] == "3", step
    for step in ("plan", "search", "backbone", "mosaic", "network", "report"):
        assert counts[step] == "2", step
    assert not (two_basins / "results").exists()


def test_a_refresh_touches_items_and_scenes_only(two_basins):
    code, text = dry_run(two_basins, "refresh")
    assert code == 0, text
    counts = dict(re.findall(r"^(\w+) +(\d+)$", text, flags=re.M))
    assert counts["refresh_items"] == "2"
    assert counts["refresh_scenes"] == "3"
    assert not {"composite", "predict", "vectorize"} & set(counts)


def test_a_cell_reads_its_neighbors_and_no_mosaic(two_basins):
    code, text = dry_run(two_basins, "--printshellcmds")
    assert code == 0
    command = next(line for line in text.splitlines() if "headwater vectorize" in line and "basins" not in line)
    assert "mosaic" not in command


def test_another_configuration_shows_nothing_of_the_default_one(two_basins):
    """config/config.yaml names TDX files; another configuration must not inherit them."""
    code, text = dry_run(two_basins, "--printshellcmds")
    assert code == 0
    assert "planetarycomputer" not in text


def test_formats_and_lakes_reach_the_network_step(two_basins):
    config = yaml.safe_load((two_basins / "config.yaml").read_text())
    config["network"] = {"formats": ["gpkg", "published"], "lakes": "my lakes.gpkg"}
    (two_basins / "my lakes.gpkg").touch()
    (two_basins / "config.yaml").write_text(yaml.safe_dump(config))
    code, text = dry_run(two_basins, "--printshellcmds")
    assert code == 0, text
    assert "results/1/waterways.published.parquet" in text
    command = next(line for line in text.splitlines() if "headwater network" in line)
    assert "--lakes 'my lakes.gpkg' --format gpkg --format published" in command


def test_values_reach_the_command_as_they_are(two_basins):
    """Quotes, braces and spaces of a configuration are neither evaluated nor lost."""
    config = yaml.safe_load((two_basins / "config.yaml").read_text())
    config["catalog"] = {
        "url": "http://127.0.0.1:9/a b;touch '{x}' $(y)",
        "signing": "token",
        "token_url": "http://t/{u}",
    }
    (two_basins / "config.yaml").write_text(yaml.safe_dump(config))
    code, text = dry_run(two_basins, "--printshellcmds")
    assert code == 0, text
    command = next(line for line in text.splitlines() if "headwater search" in line)
    assert f"--url={config['catalog']['url']}" in shlex.split(command)
    command = next(line for line in text.splitlines() if "headwater composite" in line)
    assert "--token-url=http://t/{u}" in shlex.split(command)
