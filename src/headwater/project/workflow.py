"""What the rules of the workflow are made of: cells and files of each basin, options of each step, memory.

Nothing is written here: Snakemake reads the rules several times, also in each job on a cluster.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from headwater.core.errors import InputError
from headwater.core.events import say
from headwater.core.settings import Settings
from headwater.core.versions import STEP_VERSIONS
from headwater.geo.basins import file_for_basin, is_area
from headwater.geo.grid import Cell, neighborhoods
from headwater.geo.plan import ManyCells, check_grid, plan_basin
from headwater.models.shipped import default_checkpoints
from headwater.project.budget import basin_cost
from headwater.project.checks import (
    check_catalog,
    check_disk,
    check_results_folder,
    check_tables,
    check_weights,
    describe_cost,
    refuse_many_cells,
    refuse_missing,
    refuse_other_continent,
)
from headwater.project.config import Config, check_config, refuse_repeated_keys
from headwater.runs import results
from headwater.waterways.network.formats import FORMATS

NETWORK_MB_PER_MB_OF_SEGMENTS = 30
"""A little more memory than benchmarks/network.py measures."""
MIN_NETWORK_MB = 4000
_MODES_WITHOUT_FILES = frozenset({"--lint", "--unlock", "--mode"})
"""Options of Snakemake with which no run begins: `--mode` marks a job of one, which may be on another machine."""


class Workflow:
    """The configured basins with their cells and files.

    Parameters
    ----------
    config : mapping
        As Snakemake read it.
    snakemake : snakemake.workflow.Workflow, optional
        What reads the rules, for its configuration files and options.

    Raises
    ------
    InputError
        The configuration is not valid, a basin is not in the polygons, or there are results that do not fit.
    """

    def __init__(self, config: Mapping[str, Any], snakemake: Any = None) -> None:
        if snakemake is not None:
            refuse_repeated_keys(snakemake.configfiles)
            _refuse_conda(snakemake)
            _refuse_braces(str(snakemake.basedir))
        self.config: Config = check_config(config)
        self.basins = list(self.config.basins.ids)
        self.polygons = list(self.config.polygon_files)
        self.results = Path(self.config.results)
        self.logs = self.results / "logs"
        self.kept = sorted(self.config.keep)
        self.checkpoints = list(self.config.checkpoints)
        self._cells: dict[str, dict[str, Cell]] = {}
        self._around: dict[str, tuple[Cell, ...]] = {}
        if _MODES_WITHOUT_FILES.isdisjoint(sys.argv):
            self._check_files()
        results.check_layout(self.results)
        for basin in self.basins:
            check_grid(self.results / basin / "plan.json", **self.config.grid.model_dump())

    def _check_files(self) -> None:
        """Refuse what a look at the files of the configuration shows, before anything runs."""
        check_results_folder(self.results)
        refuse_missing("basins.polygons", self.polygons, "the file of basin polygons (HydroBASINS level 2)")
        refuse_missing("predict.checkpoint", self.checkpoints, "the .safetensors file of a checkpoint")
        refuse_missing("network.lakes", filter(None, [self.config.network.lakes]), "a file of lake polygons")
        for basin in self.basins:
            refuse_other_continent(basin, self.cells(basin).values())
            self.backbone_inputs(basin)

    def check_before_run(self, workflow: Any) -> None:
        """Refuse a run that would fail later, before its first job.

        Parameters
        ----------
        workflow : snakemake.workflow.Workflow
            The workflow, with its jobs determined.

        Raises
        ------
        HeadwaterError
            A file cannot be read, weights do not fit, or the disk is too small.
        """
        steps = {job.rule.name for job in workflow.dag.needrun_jobs()}
        if "search" in steps or "refresh_items" in steps:
            check_catalog(self.config.catalog.url)
        if "network" in steps:
            self._name_forgotten_files()
        check_tables({name: paths for name, paths in self._tables().items() if name.partition(".")[0] in steps})
        if "predict" in steps:
            check_weights(self.checkpoints)
        # Otherwise the results go to an object store.
        if workflow.storage_settings.default_storage_provider is None:
            check_disk(self.results, [cell for basin in self.basins for cell in self._unfinished(basin)], self.config)

    def _name_forgotten_files(self) -> None:
        """Report files next to a network that is made again, which an earlier configuration asked for."""
        asked = {"waterways.parquet", *self.format_files(), *["water.parquet"] * self.config.vectorize.water_polygons}
        for basin in self.basins:
            for name in sorted({f"waterways{suffix}" for suffix in FORMATS.values()} | {"water.parquet"}):
                path = self.results / basin / name
                if name not in asked and path.exists():
                    say(
                        f"{path} is not updated, since the configuration no longer asks for it; delete it or ask again."
                    )

    def cost_lines(self) -> list[str]:
        """Return a line for each basin with cells to do: how many cells it has, and what they cost."""
        lines = []
        for basin in self.basins if _MODES_WITHOUT_FILES.isdisjoint(sys.argv) else ():
            left = self._unfinished(basin)
            if left:
                cost = describe_cost(basin_cost(left, margin_px=self.config.grid.margin_px))
                lines.append(f"headwater: basin {basin} has {len(self.cells(basin))} cells, {len(left)} to do: {cost}.")
        return lines

    def _unfinished(self, basin: str) -> list[Cell]:
        folder = self.results / basin / "cells"
        return [cell for name, cell in self.cells(basin).items() if not (folder / name / "waterways.parquet").exists()]

    def _tables(self) -> dict[str, list[str]]:
        """Return the files of features by the setting that names them, as "step.setting"."""
        tables = {"network.lakes": [self.config.network.lakes] if self.config.network.lakes else []}
        if self.config.backbone.kind == "tdx":
            inputs = [self.backbone_inputs(basin) for basin in self.basins]
            for name in ("streams", "catchments"):
                tables[f"backbone.{name}"] = list(dict.fromkeys(path for each in inputs for path in each[name]))
        return tables

    def cells(self, basin: str) -> Mapping[str, Cell]:
        """Return the cells of a basin by name, from the polygon and the grid alone.

        Raises
        ------
        InputError
            The basin has no valid polygon, or more cells than the configuration allows.
        """
        if basin not in self._cells:
            grid = self.config.grid
            try:
                plan = plan_basin(
                    [Path(path) for path in self.polygons],
                    basin,
                    cell_degrees=grid.cell_degrees,
                    margin_px=grid.margin_px,
                    max_cells=math.inf if self.config.confirm else self.config.max_cells,
                )
            except ManyCells as error:
                refuse_many_cells(basin, error.count, error.example, self.config)
                raise
            refuse_many_cells(basin, len(plan.cells), plan.cells[len(plan.cells) // 2], self.config)
            self._cells[basin] = {cell.name: cell for cell in plan.cells}
            self._around[basin] = plan.buffer_cells
        return self._cells[basin]

    def cell_files(self, basin: str, name: str) -> list[Path]:
        """Return a file of every cell of a basin."""
        return [self.results / basin / "cells" / cell / name for cell in self.cells(basin)]

    def neighbor_files(self, basin: str, cell: str, name: str) -> list[Path]:
        """Return a file of a cell and of the cells around it."""
        around = _neighborhoods(tuple(self.cells(basin).values()))[cell]
        return [self.results / basin / "cells" / each.name / name for each in around]

    def missing_files(self, basin: str) -> list[Path]:
        """Return the files that the configuration asks for and that are not there, from the first step to the last.

        They are made again, or for the first time where the configuration asks for more than it did.
        """
        folder = self.results / basin
        water = ["water.parquet"] * self.config.vectorize.water_polygons
        of_basin = ["plan.json", "items.parquet", "reaches.parquet", "catchments.parquet", "waterways.checks.json"]
        of_basin += [*self.format_files(), *water]
        of_basin += ["report/index.html", *(f"report/{name}.png" for name in ("network", "sources", *self.kept))]
        of_cells = ["scenes.json", "dem.json", *(f"{name}.tif" for name in self.kept), "waterways.parquet", *water]
        asked = [path for name in of_cells for path in self.cell_files(basin, name)]
        return [path for path in (*asked, *(folder / name for name in of_basin)) if not path.exists()]

    def backbone_inputs(self, basin: str) -> dict[str, Any]:
        """Return the inputs of the backbone: TDX-Hydro's files, or polygons and elevation."""
        inputs: dict[str, Any] = {"plan": self.results / basin / "plan.json"}
        backbone = self.config.backbone
        if backbone.kind == "tdx":
            regions = backbone.regions or (basin,)
            for name, pattern in {"streams": backbone.streams or "", "catchments": backbone.catchments or ""}.items():
                if is_area(basin) and not backbone.regions and "{basin_id}" in pattern:
                    raise InputError(
                        f"backbone.{name} has a file for each region of TDX-Hydro, and {basin} is none.",
                        "Set backbone.regions to the HYBAS_ID of the regions that the area is in.",
                    )
                inputs[name] = [str(file_for_basin(pattern, region)) for region in regions]
            return inputs | ({"polygons": self.polygons} if self._has_parts_of_regions else {})
        inputs |= {"polygons": self.polygons, "elevation": self.elevation_files(basin)}
        return inputs | ({"probability": self.cell_files(basin, "probability.tif")} if backbone.kind == "none" else {})

    @property
    def _has_parts_of_regions(self) -> bool:
        return any(self.config.backbone.is_part_of_regions(basin) for basin in self.basins)

    def elevation_files(self, basin: str) -> list[Path]:
        """Return the elevation of every cell of a basin, and of those around an area."""
        self.cells(basin)
        around = [self.results / basin / "cells" / cell.name / "elevation.tif" for cell in self._around[basin]]
        return self.cell_files(basin, "elevation.tif") + around

    @property
    def backbone_command(self) -> str:
        """The command of the step backbone, with fields for its files."""
        tdx = " --streams {input.streams} --catchments {input.catchments}"
        polygons = " --polygons {input.polygons}"
        elevation = polygons + " --elevation {elevation}"
        found = f"{elevation} --probability {{probability}} --threshold {self.config.vectorize.threshold}"
        tdx += polygons if self._has_parts_of_regions else ""
        sources = {"tdx": tdx, "dem": elevation, "none": found}[self.config.backbone.kind]
        files = "--reaches-out {output.reaches} --catchments-out {output.catchments}"
        return f"backbone --plan {{input.plan}}{sources} {files}"

    @property
    def network_options(self) -> str:
        """What the step network writes besides the network, as options with fields for its files."""
        words = [f"--format {name}" for name in self.config.network.formats]
        if self.config.network.lakes:
            words.insert(0, "--lakes {input.lakes}")
        if self.config.vectorize.water_polygons:
            words.append("--water {water} --water-out {output.water}")
        return " ".join(words)

    @property
    def report_options(self) -> str:
        """The rasters that the step report shows, as options with fields for their files."""
        return " ".join(f"--{name} {{{name}}}" for name in self.kept)

    def options(self, *sections: str, reruns: bool = True) -> str:
        """Return the settings of steps as options of their subcommand, quoted.

        Parameters
        ----------
        *sections : str
            Sections of the configuration; those that do not exist have no options.
        reruns : bool
            Those whose change makes results again, or those that only change how results are made.
        """
        # A step such as report has no settings.
        settings: list[Settings] = [getattr(self.config, name) for name in sections if name in Config.model_fields]
        return " ".join(text for text in (each.options(reruns=reruns) for each in settings) if text)

    def identity(self, step: str) -> list[Any]:
        """Return what makes results again besides inputs and options: the step's version, and weights by content.

        A checkpoint's JSON holds the hash of its weights and the channel recipe. Editing the package's code triggers
        nothing by itself, and checkpoints of another environment have other paths but the same content.
        """
        if step != "predict":
            return [STEP_VERSIONS.get(step)]
        described = [Path(path).with_suffix(".json") for path in self.config.checkpoints or default_checkpoints()]
        return [STEP_VERSIONS[step], *(_hash(path) for path in described)]

    def gpus(self) -> int:
        """Return the GPUs of a prediction: one, but none where `auto` will find none."""
        device = self.config.predict.device
        return int(device.startswith("cuda") or (device == "auto" and shutil.which("nvidia-smi") is not None))

    def format_files(self) -> list[str]:
        """Return the names of the network's files in other formats."""
        return [f"waterways{FORMATS[name]}" for name in self.config.network.formats]

    def lock_explanation(self) -> str | None:
        """Return what to say about a lock that Snakemake will meet, None where it meets none or jobs ask."""
        if "--mode" in sys.argv or "--unlock" in sys.argv:
            return None
        return results.explain_lock(self.results, self.basins, Path(".snakemake/locks"))


def memory_percent(mem_mb: int) -> int:
    """Return memory as percent of what this machine has.

    profiles/default bounds the sum over the jobs of one machine, however many cores it has.
    """
    machine_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**20
    return math.ceil(100 * mem_mb / machine_mb)


def network_mb(segments: Sequence[str]) -> int:
    """Return the memory of a basin's step network, from the files of its cells' segments."""
    measured = NETWORK_MB_PER_MB_OF_SEGMENTS * sum(Path(path).stat().st_size for path in segments) // 2**20
    return max(MIN_NETWORK_MB, measured)


def _refuse_conda(snakemake: Any) -> None:
    """Refuse environments per rule: the package and its paths are those of the environment that Snakemake runs in."""
    methods = getattr(snakemake.deployment_settings, "deployment_method", ())
    if any(method.name == "CONDA" for method in methods):
        raise InputError(
            "All steps use the environment that Snakemake runs in; conda environments per rule are not supported.",
            "Run without --software-deployment-method conda, in an environment made by `conda env create -f"
            " envs/headwater.yaml` or `make install`.",
        )


def _refuse_braces(folder: str) -> None:
    """Refuse a checkout in whose path Snakemake would look for wildcards."""
    if "{" in folder or "}" in folder:
        raise InputError(
            f"The folder of the workflow, {folder}, has braces in its name, which Snakemake takes for wildcards.",
            "Rename it; the folder that the workflow runs in may have them.",
        )


@cache
def _neighborhoods(cells: tuple[Cell, ...]) -> Mapping[str, Sequence[Cell]]:
    return neighborhoods(list(cells))


def _hash(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
