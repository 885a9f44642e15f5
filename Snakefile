"""Headwater: from HydroBASINS polygons to waterway networks. A table of contents."""

from snakemake.utils import min_version

from headwater.project.config_paths import project_folder

min_version("9.0")


# Another configuration replaces this one: nothing of config/config.yaml is mixed into it.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


# The run of a project, whose paths begin in the folder of its configuration, has its records there too.
if folder := project_folder(config, workflow.configfiles):

    workdir: folder


include: "workflow/rules/common.smk"


report: "workflow/report/workflow.rst"


# In the order of the data.
include: "workflow/rules/step.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/search.smk"
include: "workflow/rules/imagery.smk"
include: "workflow/rules/predict.smk"
include: "workflow/rules/network.smk"
include: "workflow/rules/report.smk"


localrules:
    all,
    refresh,


rule all:
    default_target: True
    input:
        expand(RESULTS / "{basin}/waterways.parquet", basin=BASINS),
        expand(RESULTS / "{basin}/{mosaic}", basin=BASINS if KEPT else [], mosaic=RUN.mosaics.values()),
        expand(RESULTS / "{basin}/summary.csv", basin=BASINS),
        RESULTS / "catalog/catalog.json",
        # Snakemake does not look for a file that only steps read whose results are there.
        lambda wildcards: [path for basin in BASINS for path in RUN.missing_files(basin)],


rule refresh:
    input:
        lambda wildcards: [mark for basin in BASINS for mark in RUN.cell_files(basin, ".refreshed")],


# The run locks its basins; one line reports its progress, and a summary at the end what it took
# (docs/how-to/watch.md).
onstart:
    from headwater.runs import watch

    begin_run(workflow)
    watch.begin(workflow, LOGS)


onsuccess:
    from headwater.runs import watch

    watch.end("done", RUN.where_results_are())


onerror:
    from headwater.runs import watch

    watch.end("failed")
