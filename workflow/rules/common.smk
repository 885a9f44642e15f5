"""What the rules share: the checked configuration and input functions. The logic is in headwater.project.workflow."""

import shlex
from pathlib import Path

from snakemake.exceptions import WorkflowError

from headwater.core.errors import HeadwaterError
from headwater.project.workflow import Workflow, memory_percent, network_mb
from headwater.runs import results
from headwater.runs.watch import check_partitions

try:
    RUN = Workflow(config)
except HeadwaterError as error:
    raise WorkflowError(str(error)) from None

CONFIG, BASINS, RESULTS, LOGS, KEPT = RUN.config, RUN.basins, RUN.results, RUN.logs, RUN.kept
CHECKPOINTS = list(CONFIG.checkpoints)

if explanation := RUN.lock_explanation():
    logger.warning(explanation)


wildcard_constraints:
    basin="|".join(BASINS),
    cell=r"[NS][0-9.]+[EW][0-9.]+",


# Called when a run begins, before the first job. Jobs of a run that is killed keep others out as long as they work.
def begin_run(workflow):
    try:
        check_partitions(workflow)
        shell.prefix(results.begin_run(RESULTS, BASINS))
    except HeadwaterError as error:
        raise WorkflowError(str(error)) from None


def step(name, *also, untracked=(), **others):
    """Return the params of a step.

    A change of `options` or `identity` reruns it. `untracked` holds settings that only change how a result is made:
    Snakemake does not track params that depend on resources.
    """
    return {
        "options": RUN.options(*also, name),
        "identity": RUN.identity(name),
        "untracked": lambda wildcards, resources: RUN.options(*untracked, reruns=False),
    } | others


def memory(mem_mb, **others):
    """Memory and other resources of a job: as much again at each attempt, where a profile sets retries."""

    def needed(wildcards, input, attempt):
        return attempt * (mem_mb(input) if callable(mem_mb) else mem_mb)

    def percent(wildcards, input, attempt):
        return memory_percent(needed(wildcards, input, attempt))

    return {"mem_mb": needed, "memory_percent": percent, **others}


def minutes(amount):
    return lambda wildcards, attempt: amount * attempt


def files_of_cells(name):
    return lambda wildcards: RUN.cell_files(wildcards.basin, name)


def files_of_neighbors(name):
    return lambda wildcards: RUN.neighbor_files(wildcards.basin, wildcards.cell, name)


def each_cell(name):
    return lambda wildcards: RUN.each_cell(wildcards.basin, name)


def basin_folder(wildcards):
    return str(RESULTS / wildcards.basin)


def backbone_inputs(wildcards):
    return RUN.backbone_inputs(wildcards.basin)


def backbone_sources(wildcards, input):
    return RUN.backbone_sources(wildcards.basin, input)


def checkpoint_option(wildcards, input):
    return f"--checkpoint {shlex.join(input.checkpoint)}" if CHECKPOINTS else ""


def network_memory(input):
    return network_mb(input.segments)


def unless_kept(name):
    """Return a cell's raster as an output, which is removed after its last reader unless it is to be kept."""
    path = RESULTS / "{basin}/cells/{cell}" / f"{name}.tif"
    return path if name in KEPT else temp(path)


def kept_files(wildcards):
    """Return the rasters that are kept: a report that read others would have all of them made again."""
    return [path for name in KEPT for path in RUN.cell_files(wildcards.basin, f"{name}.tif")]


def kept_options(wildcards):
    return [f"--{name} {RUN.each_cell(wildcards.basin, f'{name}.tif')}" for name in KEPT]


def water(path):
    """Return a file of wide water, or none where it is not requested."""
    return [path] if CONFIG.vectorize.water_polygons else []


def water_option(wildcards, output):
    return f"--water-out {shlex.quote(output.water[0])}" if output.water else ""


def network_options(wildcards, input, output):
    words = [f"--format {name}" for name in CONFIG.network.formats]
    if input.lakes:
        words.insert(0, f"--lakes {shlex.quote(input.lakes)}")
    if output.water:
        words += [f"--water {RUN.each_cell(wildcards.basin, 'water.parquet')}", water_option(wildcards, output)]
    return " ".join(words)


def caption(category):
    return {"category": category, "subcategory": "{basin}"}
