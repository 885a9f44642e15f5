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

from headwater.core.settings import Settings
from headwater.core.versions import STEP_VERSIONS
from headwater.geo.basins import file_for_basin
from headwater.geo.grid import Cell, neighborhoods
from headwater.geo.plan import check_grid, plan_basin
from headwater.models.shipped import default_checkpoints
from headwater.project.config import Config, check_config
from headwater.runs import results
from headwater.waterways.network.formats import FORMATS

NETWORK_MB_PER_MB_OF_SEGMENTS = 30
"""A little more memory than benchmarks/network.py measures."""
MIN_NETWORK_MB = 4000


class Workflow:
    """The configured basins with their cells and files.

    Parameters
    ----------
    config : mapping
        As Snakemake read it.

    Raises
    ------
    InputError
        The configuration is not valid, a basin is not in the polygons, or there are results that do not fit.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config: Config = check_config(config)
        self.basins = list(self.config.basins.ids)
        self.polygons = list(self.config.polygon_files)
        self.results = Path(self.config.results)
        self.logs = self.results / "logs"
        self.kept = sorted(self.config.keep)
        self.checkpoints = list(self.config.checkpoints)
        self._cells: dict[str, dict[str, Cell]] = {}
        if all(Path(path).is_file() for path in self.polygons):
            for basin in self.basins:
                self.cells(basin)
        results.check_layout(self.results)
        for basin in self.basins:
            check_grid(self.results / basin / "plan.json", **self.config.grid.model_dump())

    def cells(self, basin: str) -> Mapping[str, Cell]:
        """Return the cells of a basin by name, from the polygon and the grid alone."""
        if basin not in self._cells:
            plan = plan_basin(
                [Path(path) for path in self.polygons],
                basin,
                cell_degrees=self.config.grid.cell_degrees,
                margin_px=self.config.grid.margin_px,
            )
            self._cells[basin] = {cell.name: cell for cell in plan.cells}
        return self._cells[basin]

    def cell_files(self, basin: str, name: str) -> list[Path]:
        """Return a file of every cell of a basin."""
        return [self.results / basin / "cells" / cell / name for cell in self.cells(basin)]

    def neighbor_files(self, basin: str, cell: str, name: str) -> list[Path]:
        """Return a file of a cell and of the cells around it."""
        around = _neighborhoods(tuple(self.cells(basin).values()))[cell]
        return [self.results / basin / "cells" / each.name / name for each in around]

    def backbone_inputs(self, basin: str) -> dict[str, Any]:
        """Return the inputs of the backbone: TDX-Hydro's files, or polygons and elevation."""
        inputs: dict[str, Any] = {"plan": self.results / basin / "plan.json"}
        backbone = self.config.backbone
        if backbone.kind == "tdx":
            patterns = {"streams": backbone.streams or "", "catchments": backbone.catchments or ""}
            return inputs | {name: str(file_for_basin(pattern, basin)) for name, pattern in patterns.items()}
        return inputs | {"polygons": self.polygons, "elevation": self.cell_files(basin, "elevation.tif")}

    @property
    def backbone_command(self) -> str:
        """The command of the step backbone, with fields for its files."""
        tdx = " --streams {input.streams} --catchments {input.catchments}"
        dem = " --polygons {input.polygons} --elevation {elevation}"
        sources = tdx if self.config.backbone.kind == "tdx" else dem
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


@cache
def _neighborhoods(cells: tuple[Cell, ...]) -> Mapping[str, Sequence[Cell]]:
    return neighborhoods(list(cells))


def _hash(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
