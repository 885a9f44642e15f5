"""What the rules of the workflow are made of: cells and files of each basin, options of each step, memory.

Nothing is written here: Snakemake reads the rules several times, also in each job on a cluster.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from headwater.core.errors import InputError
from headwater.core.events import say
from headwater.core.notices import notices_of
from headwater.core.settings import Settings
from headwater.core.versions import STEP_VERSIONS
from headwater.fetch.sources import HYDROLAKES, TDX_HYDRO, RemoteFile
from headwater.fetch.store import ask_sizes, command_for, missing_bytes, path_of
from headwater.geo.grid import Cell, neighborhoods
from headwater.geo.plan import MAX_CELLS, ManyCells, check_grid, plan_basin
from headwater.imagery.settings import SearchSettings
from headwater.models.shipped import DEMO_WARNING, default_checkpoints, uses_demo_weights
from headwater.project.backbone_choice import BackboneChoice, choose_backbone, write_pin
from headwater.project.backbone_choice import ask_sizes as ask_tdx_sizes
from headwater.project.budget import basin_cost
from headwater.project.checks import (
    check_catalog,
    check_disk,
    check_published_rasters,
    check_results_folder,
    check_tables,
    check_weights,
    describe_cost,
    may_be_demo_catalog,
    refuse_many_cells,
    refuse_missing,
    refuse_other_continent,
)
from headwater.project.config import Config, check_config, refuse_repeated_keys
from headwater.project.config_paths import ready_paths
from headwater.project.data_folder import fetch_first, fetch_lines, lake_files, refuse_absent, with_files
from headwater.raster.mosaic import MOSAICS
from headwater.runs import results
from headwater.runs.watch import QUIET_VARIABLE, hush
from headwater.waterways.network.formats import FORMATS, description_paths
from headwater.waterways.settings import BackboneSettings

NETWORK_MB_PER_MB_OF_SEGMENTS = 30
"""A little more memory than benchmarks/network.py measures."""
MIN_NETWORK_MB = 4000
"""The mosaic of other rasters has their name."""
PUBLISHED_MB = 1500
"""Memory of a cell from published rasters: twice what one degree takes."""
_MODES_WITHOUT_FILES = frozenset({"--lint", "--unlock", "--mode"})
"""Options of Snakemake with which no run begins: `--mode` marks a job of one, which may be on another machine."""
_OPTIONS_WITHOUT_RUN = _MODES_WITHOUT_FILES | {
    *("--dry-run", "--dryrun", "--dag", "--rulegraph", "--filegraph", "--d3dag", "--summary", "--detailed-summary"),
    *("--list-rules", "--list-target-rules", "--list-changes", "--list-input-changes", "--list-params-changes"),
    *("--touch", "--report", "--archive", "--delete-all-output", "--delete-temp-output", "--cleanup-metadata"),
    *("--containerize", "--export-cwl", "--print-compilation", "--generate-unit-tests", "--conda-create-envs-only"),
}
"""Options of Snakemake with which nothing is made, and so nothing is fetched."""


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
            if QUIET_VARIABLE in os.environ:
                hush(snakemake)
        files = snakemake.configfiles if snakemake is not None else ()
        self._written = check_config(ready_paths(config, files, run_folder=Path.cwd()))
        self.config: Config = with_files(self._written)
        self.basins = list(self.config.basins.ids)
        self.polygons = list(self.config.polygon_files)
        self.results = Path(self.config.results)
        self.logs = self.results / "logs"
        self.kept = self.config.rasters
        self.checkpoints = list(self.config.checkpoints)
        self._cells: dict[str, dict[str, Cell]] = {}
        self._around: dict[str, tuple[Cell, ...]] = {}
        self._backbones: dict[str, BackboneChoice] = {}
        if snakemake is not None and _runs_jobs(sys.argv):
            self._fetch_first()
        if _MODES_WITHOUT_FILES.isdisjoint(sys.argv):
            self._check_files()
        results.check_layout(self.results)
        for basin in self.basins:
            check_grid(self.results / basin / "plan.json", **self.config.grid.model_dump())

    def _fetch_first(self) -> None:
        """Fetch what the rules need when they are read, and ask for sizes that decide what else is fetched."""
        if not self.config.fetch.enabled:
            return
        fetch_first(self._written)
        ask_sizes(lake_files(self._written), self.config.fetch)
        for basin in self.basins:
            if not (self.results / basin / "reaches.parquet").exists():
                polygons = [Path(path) for path in self.polygons]
                ask_tdx_sizes(basin, self.config.backbone, self.config.fetch, polygons=polygons)

    def _check_files(self) -> None:
        """Refuse what a look at the files of the configuration shows, before anything runs."""
        check_results_folder(self.results)
        refuse_absent(self._written)
        refuse_missing("basins.polygons", self.polygons, "the file of basin polygons (HydroBASINS level 2)")
        if self.config.is_published:
            check_published_rasters(self.config.predict.published)
        refuse_missing("predict.checkpoint", self.checkpoints, "the .safetensors file of a checkpoint")
        own_lakes = [] if self.lakes_fetched else filter(None, [self.config.network.lakes])
        refuse_missing("network.lakes", own_lakes, "a file of lake polygons")
        for basin in self.basins:
            refuse_other_continent(basin, self.cells(basin).values())
            self.backbone_inputs(basin)
        self._fetch_lines()

    def begin(self, workflow: Any) -> str:
        """Check and lock the basins of a run that begins; return the shell commands that each job should begin with.

        Raises
        ------
        HeadwaterError
            See `check_before_run` and `headwater.runs.results.begin_run`.
        """
        self.check_before_run(workflow)
        prefix = results.begin_run(self.results, self.basins).job_prefix
        for basin in self.basins:
            write_pin(self._pin(basin), self.backbone(basin))
        return prefix

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
            if fallback := self.config.catalog.next_catalog:
                check_catalog(fallback.url, name="catalog.fallback")
        if "network" in steps:
            self._name_forgotten_files()
        self._refuse_lost_files(steps)
        check_tables({name: paths for name, paths in self._tables().items() if name.partition(".")[0] in steps})
        if "predict" in steps and not self.config.is_published:
            check_weights(self.checkpoints)
            self._warn_of_demo_weights()
        # Otherwise the results go to an object store.
        if workflow.storage_settings.default_storage_provider is None:
            check_disk(self.results, [cell for basin in self.basins for cell in self._unfinished(basin)], self.config)

    def _warn_of_demo_weights(self) -> None:
        """Warn of weights for demo planets, unless the data are of one; before a search that is not known for sure.

        Each prediction finds it again by the pin, and the summary at the end of the run repeats it once.
        """
        if not uses_demo_weights(self.checkpoints):
            return
        from headwater.stac.pins import is_demo_pin

        pins = [pin for pin in (self.results / basin / "items.parquet" for basin in self.basins) if pin.is_file()]
        known = all(is_demo_pin(pin) for pin in pins)
        if not (known and (pins or may_be_demo_catalog(self.config.catalog.url))):
            say(f"warning: {DEMO_WARNING}")

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

    def where_results_are(self) -> list[str]:
        """Return where the network, the map and the report of each basin are, for people."""
        names = {"network": "waterways.parquet", "map": "report/map.html", "report": "report/index.html"}
        # As seen from where the command was given, which `headwater run` leaves.
        results = Path(os.path.relpath(self.results, os.environ.get("PWD") or Path.cwd()))
        return [
            f"basin {basin}: " + ", ".join(f"{what} {results / basin / name}" for what, name in names.items())
            for basin in self.basins
            if all((self.results / basin / name).exists() for name in names.values())
        ]

    def cost_lines(self) -> list[str]:
        """Return a line for each basin with cells to do: how many cells it has, and what they cost."""
        lines = self._fetch_lines() if _MODES_WITHOUT_FILES.isdisjoint(sys.argv) else []
        for basin in self.basins if _MODES_WITHOUT_FILES.isdisjoint(sys.argv) else ():
            left = self._unfinished(basin)
            if left:
                cost = describe_cost(
                    basin_cost(left, margin_px=self.config.grid.margin_px, published=self.config.is_published)
                )
                choice = self.backbone(basin)
                if choice.why:
                    lines.append(f"headwater: backbone of basin {basin}: {choice.kind}, because {choice.why}.")
                lines.append(f"headwater: basin {basin} has {len(self.cells(basin))} cells, {len(left)} to do: {cost}.")
        return lines

    def _unfinished(self, basin: str) -> list[Cell]:
        folder = self.results / basin / "cells"
        return [cell for name, cell in self.cells(basin).items() if not (folder / name / "waterways.parquet").exists()]

    def _tables(self) -> dict[str, list[str]]:
        """Return the files of features by the setting that names them, as "step.setting"."""
        lakes = [self.config.network.lakes] if self.config.network.lakes else []
        choices = [choice for basin in self.basins if (choice := self.backbone(basin)).kind == "tdx"]
        tables = {
            "network.lakes": lakes,
            "backbone.streams": [path for choice in choices for path in choice.streams],
            "backbone.catchments": [path for choice in choices for path in choice.catchments],
        }
        # What the run fetches is checked then.
        return {name: [path for path in paths if path not in self._fetched_paths()] for name, paths in tables.items()}

    def _fetched_paths(self) -> dict[str, RemoteFile]:
        """Return the files of the data folder that rules fetch, by path."""
        files = [*lake_files(self._written), *(file for basin in self.basins for file in self.backbone(basin).fetched)]
        return {str(path_of(file, self.config.fetch)): file for file in files}

    def _fetch_lines(self) -> list[str]:
        """Return what the rules will fetch, in words; refuse what is too much.

        Raises
        ------
        HeadwaterError
            It is more than `fetch.max_gb`, or the disk is too small.
        """
        wanted = [file for path, file in self._fetched_paths().items() if not self._is_used_up(file)]
        return fetch_lines(wanted, self.config.fetch)

    def _is_used_up(self, file: RemoteFile) -> bool:
        """Whether no basin needs a file any more: what it is read for is there."""
        done = "waterways.parquet" if file.region is None else "reaches.parquet"
        readers = [basin for basin in self.basins if file.region is None or file in self.backbone(basin).fetched]
        return all((self.results / basin / done).exists() for basin in readers)

    def _refuse_lost_files(self, steps: Collection[str]) -> None:
        """Refuse to read files of the data folder that were there when an earlier run noted them, and are gone."""
        for path, file in self._fetched_paths().items():
            reader = "network" if file.region is None else "backbone"
            if reader in steps and "fetch" not in steps and not Path(path).exists():
                raise InputError(
                    f"{path} is needed again, and is no longer there.",
                    f"Run `{command_for(file, self.config.fetch)}`.",
                )

    def _pin(self, basin: str) -> Path:
        return self.results / ".headwater" / f"{basin}.backbone.json"

    def backbone(self, basin: str) -> BackboneChoice:
        """Return which backbone a basin gets, and from which files.

        Raises
        ------
        InputError
            It should be TDX-Hydro, and the files are not there and may not be fetched.
        """
        if basin not in self._backbones:
            fetch = self.config.fetch
            # What else is fetched comes first; then one basin after the other, as far as fetch.max_gb goes.
            others = {file.name: file for made in self._backbones.values() for file in made.fetched}
            budget = fetch.max_gb * 1e9 - missing_bytes([*others.values(), *lake_files(self._written)], fetch)
            self._backbones[basin] = choose_backbone(
                basin,
                self.config.backbone,
                fetch,
                pin=self._pin(basin),
                keeps_pin="--mode" in sys.argv or (self.results / basin / "reaches.parquet").exists(),
                polygons=[Path(path) for path in self.polygons],
                budget_bytes=budget,
            )
        return self._backbones[basin]

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
                    max_cells=MAX_CELLS if self.config.confirm else self.config.max_cells,
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
        of_basin += [
            "report/index.html",
            "report/map.html",
            "report/map",
            *(f"report/{name}.png" for name in ("network", "sources", *self.kept)),
        ]
        of_cells = ["scenes.json", "dem.json", *(f"{name}.tif" for name in self.kept), "waterways.parquet", *water]
        asked = [path for name in of_cells for path in self.cell_files(basin, name)]
        return [path for path in (*asked, *(folder / name for name in of_basin)) if not path.exists()]

    def backbone_inputs(self, basin: str) -> dict[str, Any]:
        """Return the inputs of the backbone: TDX-Hydro's files, or polygons and elevation."""
        inputs: dict[str, Any] = {"plan": self.results / basin / "plan.json"}
        choice = self.backbone(basin)
        if choice.kind == "tdx":
            # Snakemake removes outputs of failed jobs, so files of the data folder are none: their receipt is.
            fetched = {"fetched": self.receipt(basin, TDX_HYDRO)}
            own = {"streams": list(choice.streams), "catchments": list(choice.catchments)}
            inputs |= fetched if choice.fetched else own
            if self._has_coasts:
                return inputs | {"polygons": self.polygons, "elevation": self.cell_files(basin, "elevation.tif")}
            return inputs | ({"polygons": self.polygons} if self._is_part(basin) else {})
        inputs |= {"polygons": self.polygons, "elevation": self.elevation_files(basin)}
        return inputs | ({"probability": self.cell_files(basin, "probability.tif")} if choice.kind == "none" else {})

    def _is_part(self, basin: str) -> bool:
        """Whether a basin is cut out of TDX-Hydro's regions."""
        return self._decided(basin).is_part_of_regions(basin)

    @property
    def _has_coasts(self) -> bool:
        """Whether land that drains to no reach gets waterways; the published method drops what is found there."""
        return self.config.backbone.coasts and self.config.vectorize.method == "headwater"

    @property
    def stays(self) -> set[str]:
        """The rasters of cells that no job removes: those to be kept and, for coasts, the elevation.

        It would be made again with each new image otherwise, and with it the backbone and the vectors of all cells.
        """
        return {*self.kept, *(["elevation"] if self._has_coasts else [])}

    def _decided(self, basin: str) -> BackboneSettings:
        """Return the settings of a basin's backbone, with the kind and the regions that were found for it."""
        choice = self.backbone(basin)
        regions = choice.regions if choice.regions != (basin,) else self.config.backbone.regions
        return self.config.backbone.model_copy(
            update={"kind": choice.kind, "regions": regions, "coasts": self._has_coasts}
        )

    def elevation_files(self, basin: str) -> list[Path]:
        """Return the elevation of every cell of a basin, and of those around an area."""
        self.cells(basin)
        around = [self.results / basin / "cells" / cell.name / "elevation.tif" for cell in self._around[basin]]
        return self.cell_files(basin, "elevation.tif") + around

    def backbone_sources(self, wildcards: Any) -> str:
        """Return what the step backbone reads, as options with fields for its files."""
        choice, polygons = self.backbone(wildcards.basin), "--polygons {input.polygons}"
        if choice.kind == "tdx":
            files = choice.options.replace("{", "{{").replace("}", "}}")
            if self._has_coasts:
                return f"{files} {polygons} --elevation {{elevation}}"
            return f"{files} {polygons}" if self._is_part(wildcards.basin) else files
        found = f" --probability {{probability}} --threshold {self.config.vectorize.threshold}"
        return f"{polygons} --elevation {{elevation}}{found if choice.kind == 'none' else ''}"

    def receipt(self, basin: str, source: str) -> Path:
        """Return the file that the rule fetch writes for a basin: what was there then, with SHA-256."""
        return self.results / basin / "fetched" / f"{source}.json"

    def fetch_options(self, wildcards: Any) -> str:
        """Return the options of the rule fetch."""
        fetch, basin, source = self.config.fetch, wildcards.basin, wildcards.source
        regions = sorted({str(file.region) for file in self.backbone(basin).fetched}) if source == TDX_HYDRO else []
        words = ["--folder", str(fetch.path), "--max-gb", f"{fetch.max_gb:g}", "--patience-s", f"{fetch.patience_s:g}"]
        words += ["--basin", *regions] if regions else []
        words += [word for address in fetch.addresses_of(source) for word in ("--address", address)]
        words += [word for host in fetch.hosts for word in ("--host", host)]
        words += [] if fetch.enabled else ["--offline"]
        return shlex.join(words).replace("{", "{{").replace("}", "}}")

    @property
    def lakes_fetched(self) -> bool:
        """Whether the lakes are those of the data folder."""
        return bool(lake_files(self._written))

    def lakes(self, basin: str) -> list[str]:
        """Return the input of the step network for lakes: the file, its receipt, or none."""
        if self.lakes_fetched:
            return [str(self.receipt(basin, HYDROLAKES))]
        return [self.config.network.lakes] if self.config.network.lakes else []

    def predict_inputs(self, basin: str, cell: str) -> dict[str, Any]:
        """Return the inputs of the prediction: composite and weights, or, with published rasters, only elevation."""
        folder = self.results / basin
        inputs: dict[str, Any] = {"plan": folder / "plan.json", "elevation": folder / "cells" / cell / "elevation.tif"}
        return inputs if self.config.is_published else inputs | {"composite": folder / "cells" / cell / "composite.tif"}

    @property
    def predict_command(self) -> str:
        """The command of the step predict, with fields for its files."""
        source = "--composite {input.composite}"
        if self.config.is_published:
            source = f"--published {shlex.quote(self.config.predict.published)}"
        weights = " --checkpoint {input.checkpoint}" if self.checkpoints else ""
        files = "--elevation {input.elevation} --plan {input.plan} --cell {wildcards.cell} --out {output}"
        return f"predict {source} {files}{weights}"

    def network_options(self, wildcards: Any) -> str:
        """What the step network writes besides the network, and the names of its sources, as options."""
        sources = [*self.polygons, *self.backbone(wildcards.basin).streams]
        names = sorted({Path(path).name for path in sources if notices_of([Path(path).name])})
        words = ["--items {folder}/items.parquet", *(["--products", *map(shlex.quote, names)] if names else [])]
        if self.config.network.lakes:
            words.append(f"--lakes {shlex.quote(self.config.network.lakes)}")
        words += [f"--format {name}" for name in self.config.network.formats]
        if self.config.vectorize.water_polygons:
            words.append("--water {water} --water-out {output.water}")
        return " ".join(words)

    @property
    def mosaics(self) -> dict[str, str]:
        """Name of the mosaic of each raster that is kept; the rule is never asked where none is."""
        return {name: MOSAICS[name] for name in self.kept or ("probability",)}

    @property
    def mosaic_options(self) -> str:
        """The rasters that the step mosaic combines, as options with fields for their files."""
        return " ".join(f"--rasters {{{name}}} --out {{folder}}/{file}" for name, file in self.mosaics.items())

    @property
    def collection(self) -> str:
        """Name of this configuration in the catalog of results: whatever changes a result changes it."""
        steps = ("grid", "search", "select", "composite", "elevation", "predict", "backbone", "vectorize", "network")
        made = [self.options(*steps), [self.identity(step) for step in (*steps, "report")]]
        return f"run-{hashlib.sha256(json.dumps(made).encode()).hexdigest()[:10]}"

    @property
    def catalog_command(self) -> str:
        """The command of the step catalog."""
        weights = [] if self.config.is_published else self.checkpoints or list(map(str, default_checkpoints()))
        words = ["catalog", "--results", str(self.results), "--collection", self.collection]
        words += ["--checkpoint", *weights] if weights else []
        return shlex.join([*words, "--basins", *self.basins, "--out", str(self.results / "catalog/catalog.json")])

    def catalog_inputs(self) -> list[Path]:
        """Return what the catalog lists: of each basin its tables, mosaics and the kept rasters of its cells."""
        names = ["waterways.parquet", "summary.csv", *(self.mosaics.values() if self.kept else ())]
        files = [self.results / basin / name for basin in self.basins for name in names]
        return files + [
            path for basin in self.basins for name in self.kept for path in self.cell_files(basin, f"{name}.tif")
        ]

    @property
    def report_options(self) -> str:
        """The rasters, polygons and lakes that the step report shows, as options with fields for their files."""
        words = [f"--{name} {{{name}}}" for name in self.kept]
        words.append(f"--polygons {' '.join(shlex.quote(str(path)) for path in self.polygons)}")
        if self.config.network.lakes:
            words.append(f"--lakes {shlex.quote(self.config.network.lakes)}")
        return " ".join(words)

    def options(self, *sections: str, basin: str | None = None, reruns: bool = True) -> str:
        """Return the settings of steps as options of their subcommand, quoted.

        Parameters
        ----------
        *sections : str
            Sections of the configuration; those that do not exist have no options.
        basin : str, optional
            Basin of the job, whose backbone has the kind that was decided for it.
        reruns : bool
            Those whose change makes results again, or those that only change how results are made.
        """
        # A step such as report has no settings, and published rasters need none of the network's.
        used = [name for name in sections if not (name == "predict" and self.config.is_published)]
        settings: list[Settings] = [self._settings(name) for name in used if name in Config.model_fields]
        if basin is not None:
            settings = [self._decided(basin) if each is self.config.backbone else each for each in settings]
        return " ".join(text for text in (each.options(reruns=reruns) for each in settings) if text)

    def _settings(self, section: str) -> Settings:
        settings: Settings = getattr(self.config, section)
        if section == "search" and self.config.is_published:
            # Without dates, so without scenes, and the limits of scenes change nothing.
            limits = {"datetime", "years_back", "max_cloud_cover"}
            return SearchSettings.pick({k: v for k, v in dict(settings).items() if k not in limits})
        return settings

    def untracked(self, basin: str, *sections: str) -> str:
        """Return what a step is told that changes no result: settings, and the prediction where the pin is."""
        if "predict" not in sections:
            return self.options(*sections, reruns=False)
        if self.config.is_published:
            return self.options("catalog", reruns=False)
        items = shlex.quote(str(self.results / basin / "items.parquet"))
        return f"{self.options(*sections, reruns=False)} --items {items}"

    def identity(self, step: str) -> list[Any]:
        """Return what makes results again besides inputs and options: the step's version, and weights by content.

        A checkpoint's JSON holds the hash of its weights and the channel recipe. Editing the package's code triggers
        nothing by itself, and checkpoints of another environment have other paths but the same content.
        """
        if step == "predict" and self.config.is_published:
            return [STEP_VERSIONS["published"], self.config.predict.published]
        if step != "predict":
            return [STEP_VERSIONS.get(step)]
        described = [Path(path).with_suffix(".json") for path in self.config.checkpoints or default_checkpoints()]
        return [STEP_VERSIONS[step], *(_hash(path) for path in described)]

    @property
    def predict_threads(self) -> int:
        """Threads of a prediction; published rasters are read by one."""
        return 1 if self.config.is_published else self.config.predict.threads

    @property
    def predict_resources(self) -> dict[str, int]:
        """Memory of a prediction, its GPUs (none where `auto` will find none), and whether it uses the network."""
        if self.config.is_published:
            return {"mem_mb": PUBLISHED_MB, "net": 1}
        device = self.config.predict.device
        gpu = int(device.startswith("cuda") or (device == "auto" and shutil.which("nvidia-smi") is not None))
        return {"mem_mb": 2000 + 2000 * self.predict_threads, "gpu": gpu}

    def format_files(self) -> list[str]:
        """Return the names of the files next to the network: its style and schema, and other formats."""
        described = [path.name for path in description_paths(Path("waterways.parquet"))]
        return [*described, *(f"waterways{FORMATS[name]}" for name in self.config.network.formats)]

    def lock_explanation(self) -> str | None:
        """Return what to say about a lock that Snakemake will meet, None where it meets none or jobs ask."""
        if "--mode" in sys.argv or "--unlock" in sys.argv:
            return None
        return results.explain_lock(self.results, self.basins, Path(".snakemake/locks"))


def _runs_jobs(words: Sequence[str]) -> bool:
    """Whether a command line of Snakemake is that of a run, and not of one of its jobs; -np is a dry run as -n is."""
    short = any(re.fullmatch("-[A-Za-z]*[nlStD][A-Za-z]*", word) for word in words[1:])
    return not short and _OPTIONS_WITHOUT_RUN.isdisjoint(words)


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
