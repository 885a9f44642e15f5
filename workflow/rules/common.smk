"""What the rules share: the checked configuration, the cells of each basin, the options that several need."""

import hashlib
import os
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

from snakemake.exceptions import WorkflowError

from headwater.runs import slurm as cluster, results
from headwater.geo.basins import file_for_basin
from headwater.project.config import check_config
from headwater.models.shipped import default_checkpoints
from headwater.core.errors import HeadwaterError
from headwater.geo.grid import neighborhoods
from headwater.geo.plan import check_grid, plan_basin
from headwater.waterways.network.formats import FORMATS
from headwater.core.versions import STEP_VERSIONS

SCHEMA = Path(workflow.basedir) / "workflow/schemas/config.schema.yaml"

try:
    config.update(check_config(config, SCHEMA))
except HeadwaterError as error:
    raise WorkflowError(str(error)) from None

# However many cores a machine has, the jobs beside each other on it declare no more memory than nine tenths of its own.
if workflow.is_main_process and workflow.nodes is None:
    if "mem_mb" not in workflow.global_resources:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        workflow.register_resource("mem_mb", machine * 9 // 10 // 2**20)

BASINS = config["basins"]["ids"]
RESULTS = Path(config["results"])
KEPT = sorted(config["keep"])
LOGS = RESULTS / "logs"
BENCHMARKS = RESULTS / "benchmarks"
# Those that come with Headwater are no input: their paths change with the environment, and `predict` finds them.
CHECKPOINTS = config["predict"]["checkpoint"] or []
if isinstance(CHECKPOINTS, str):
    CHECKPOINTS = [CHECKPOINTS]


wildcard_constraints:
    basin="|".join(BASINS),
    cell=r"[NS][0-9.]+[EW][0-9.]+",


def polygon_files():
    named = config["basins"]["polygons"]
    return [named] if isinstance(named, str) else named


# From the polygon and the grid alone, in memory: nothing is written while the workflow is parsed.
@cache
def cells_of(basin):
    try:
        plan = plan_basin(
            polygon_files(),
            basin,
            cell_degrees=config["grid"]["cell_degrees"],
            margin_px=config["grid"]["margin_px"],
        )
    except HeadwaterError as error:
        raise WorkflowError(str(error)) from None
    return {cell.name: cell for cell in plan.cells}


if all(os.path.isfile(path) for path in polygon_files()):
    # A basin that is not in the files is told at once.
    for basin in BASINS:
        cells_of(basin)


# Results that this configuration cannot go on with are told before anything is deleted or begun.
try:
    results.check_layout(RESULTS)
    for basin in BASINS:
        check_grid(RESULTS / basin / "plan.json", **config["grid"])
except HeadwaterError as error:
    raise WorkflowError(str(error)) from None

if workflow.is_main_process and "--unlock" not in sys.argv:
    if said := results.explain_lock(RESULTS, BASINS, Path(".snakemake/locks")):
        logger.warning(said)


# Called when a run begins, after the dry part and before the first job.
def begin_run():
    try:
        if partitions := getattr(workflow.executor_settings, "partition_config", None):
            cluster.check_partitions(Path(partitions))
        # The jobs inherit the locks: a run that is killed alone leaves them at work.
        shell._process_args["pass_fds"] = results.begin_run(RESULTS, BASINS)
    except HeadwaterError as error:
        raise WorkflowError(str(error)) from None


@cache
def neighbours_of(basin):
    return neighborhoods(list(cells_of(basin).values()))


@cache
def tdx_files(basin):
    try:
        return {
            kind: str(file_for_basin(config["backbone"][kind], basin))
            for kind in ("streams", "catchments")
        }
    except HeadwaterError as error:
        raise WorkflowError(str(error)) from None


def cell_files(basin, name):
    return [RESULTS / basin / "cells" / cell / name for cell in cells_of(basin)]


def unless_kept(name):
    """Return a cell's raster as an output, which is removed after its last reader unless it is to be kept."""
    path = RESULTS / "{basin}/cells/{cell}" / f"{name}.tif"
    return path if name in KEPT else temp(path)


def kept_files(name):
    """Return an input function: that raster of all cells, or none where it does not stay.

    A report that read what is gone would have the whole basin made again for a change in one cell.
    """
    return lambda wildcards: (
        cell_files(wildcards.basin, f"{name}.tif") if name in KEPT else []
    )


def basin_folder(wildcards, input):
    return os.path.dirname(input[0])


def of_all_cells(name):
    """Return a params function: the pattern that `headwater` fills with the cells of the plan.

    A basin may have more cells than fit on a command line.
    """
    return lambda wildcards: shlex.quote(
        str(RESULTS / wildcards.basin / "cells/{cell}" / name)
    )


def neighbour_files(name):
    """Return an input function: that file of the cell and of the cells around it."""

    def files(wildcards):
        around = neighbours_of(wildcards.basin)[wildcards.cell]
        return [
            RESULTS / wildcards.basin / "cells" / cell.name / name for cell in around
        ]

    return files


def water_files(*files):
    """Return the files of wide water if they are asked for."""
    return list(files) if config["vectorize"]["water_polygons"] else []


def water_of_all_cells(wildcards, output):
    if not output.water:
        return ""
    pattern = of_all_cells("water.parquet")(wildcards)
    return f"--water {pattern} --water-out {shlex.quote(output.water[0])}"


def option(name, value):
    return "" if value is None else f"{name} {value}"


def flag(name, value):
    return f"--{name}" if value else f"--no-{name}"


def checkpoint_identity():
    """Hashes of the checkpoints' JSON, which holds the weights' hash and the channel recipe."""
    described = [
        Path(checkpoint).with_suffix(".json")
        for checkpoint in CHECKPOINTS or default_checkpoints()
    ]
    return [
        hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in described
    ]


def checkpoint_option(wildcards, input):
    return f"--checkpoint {shlex.join(input.checkpoint)}" if CHECKPOINTS else ""


def gpus_wanted():
    """One GPU for a prediction, but none where `auto` will find none."""
    device = config["predict"]["device"]
    return int(
        device.startswith("cuda")
        or (device == "auto" and shutil.which("nvidia-smi") is not None)
    )


def raised(amount):
    """Return a resource function: as much again at each attempt, where a profile sets retries."""
    return lambda wildcards, attempt: amount * attempt


def network_memory(wildcards, input, attempt):
    """Megabytes: a little more than benchmarks/network.py measures for a byte of segments."""
    measured = 30 * sum(map(os.path.getsize, input.segments)) // 2**20
    return attempt * max(4000, measured)


def backbone_inputs(wildcards):
    inputs = {"plan": RESULTS / wildcards.basin / "plan.json"}
    if config["backbone"]["kind"] == "tdx":
        return inputs | tdx_files(wildcards.basin)
    return inputs | {
        "polygons": polygon_files(),
        "elevation": cell_files(wildcards.basin, "elevation.tif"),
    }


def backbone_sources(wildcards, input):
    if config["backbone"]["kind"] == "tdx":
        return f"--streams {shlex.quote(input.streams)} --catchments {shlex.quote(input.catchments)}"
    polygons = shlex.join(
        [input.polygons] if isinstance(input.polygons, str) else input.polygons
    )
    return (
        f"--polygons {polygons} --elevation {of_all_cells('elevation.tif')(wildcards)}"
        f" --min-area-km2 {config['backbone']['min_area_km2']}"
    )
