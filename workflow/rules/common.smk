"""What the rules share: the checked configuration and input functions. The logic is in headwater.project.workflow."""

from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.utils import format as fill

from headwater.core.errors import HeadwaterError
from headwater.project.workflow import Workflow, memory_percent, network_mb
from headwater.runs import slurm, watch
from headwater.runs.job_retries import grow_per_attempt as minutes
from headwater.runs.job_retries import grow_per_attempt

try:
    RUN = Workflow(config, workflow)
except HeadwaterError as error:
    raise WorkflowError(str(error)) from None

CONFIG, BASINS, KEPT = RUN.config, RUN.basins, RUN.kept
RESULTS, LOGS = RUN.results, RUN.logs

if explanation := RUN.lock_explanation():
    logger.warning(explanation)
for line in RUN.cost_lines():
    logger.info(line)


wildcard_constraints:
    basin="|".join(BASINS),
    cell=r"[NS][0-9.]+[EW][0-9.]+",


# Called when a run begins, before the first job. Jobs of a run that is killed keep others out as long as they work.
def begin_run(workflow):
    try:
        if partitions := watch.partition_file(workflow):
            slurm.check_partitions(partitions)
        shell.prefix(RUN.begin(workflow))
    except HeadwaterError as error:
        raise WorkflowError(str(error)) from None


def command(text, *sections, optional="", untracked=(), **patterns):
    """Return the params of a step: its command, whose fields are filled with quoted files, and its settings.

    `patterns` are files of all cells; `optional` is the part of the command that depends on the configuration, also as a function of the wildcards.

    A change of `options` or `identity` reruns it. `untracked` holds settings that only change how a result is made:
    Snakemake does not track params that depend on resources.
    """

    def filled(wildcards, input, output):
        folder = RESULTS / wildcards.basin
        # A basin may have more cells than fit on a command line: `headwater` fills {cell} with those of the plan.
        each = {name: folder / "cells/{cell}" / file for name, file in patterns.items()}
        files = {
            "wildcards": wildcards,
            "input": input,
            "output": output,
            "folder": folder,
            "LOGS": LOGS,
        }
        more = optional(wildcards) if callable(optional) else optional
        return fill(" ".join(filter(None, [text, more])), _quote_all=True, **files, **each)

    return {
        "command": filled,
        "options": lambda wildcards: RUN.options(*sections, basin=wildcards.basin),
        "identity": RUN.identity(text.partition(" ")[0]),
        "untracked": lambda wildcards, resources: RUN.untracked(wildcards.basin, *untracked),
    }


def memory(mem_mb, **others):
    """Return memory and other resources of a job; memory grows with each attempt (headwater.runs.job_retries)."""
    needed = grow_per_attempt(mem_mb)
    percent = lambda wildcards, input, attempt: memory_percent(needed(wildcards, input, attempt))
    return {"mem_mb": needed, "memory_percent": percent, **others}


def backbone_inputs(wildcards):
    return RUN.backbone_inputs(wildcards.basin)


def files_of_cells(name):
    return lambda wildcards: RUN.cell_files(wildcards.basin, name)


def files_of_neighbors(name):
    return lambda wildcards: RUN.neighbor_files(wildcards.basin, wildcards.cell, name)


def manifests(wildcards):
    return [RESULTS / wildcards.basin / "cells" / wildcards.cell / name for name in ("scenes.json", "dem.json")]


def unless_kept(name):
    """Return a cell's raster as an output, which is removed after its last reader unless it is to be kept."""
    path = RESULTS / "{basin}/cells/{cell}" / f"{name}.tif"
    return path if name in RUN.stays else temp(path)


def kept_files(wildcards):
    """Return the rasters that are kept: a report that read others would have all of them made again."""
    return [path for name in KEPT for path in RUN.cell_files(wildcards.basin, f"{name}.tif")]


def water(path):
    """Return a file of wide water, or none where it is not requested."""
    return [path] if CONFIG.vectorize.water_polygons else []


def table(path):
    return report(path, caption="../report/summary.rst", category="Tables", subcategory="{basin}")


def maps(path):
    paths = expand(path, name=("network", "sources", *KEPT), allow_missing=True)
    return report(paths, caption="../report/maps.rst", category="Maps", subcategory="{basin}")
