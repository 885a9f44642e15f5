"""Headwater: from HydroBASINS polygons to waterway networks. A table of contents."""

from snakemake.utils import min_version

min_version("9.0")


# Another configuration stands for itself: nothing of config/config.yaml shows through it.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"


report: "workflow/report/workflow.rst"


# In the order in which the data meet them.
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
        expand(
            RESULTS / "{basin}/mosaic.vrt",
            basin=BASINS if "probability" in KEPT else [],
        ),
        expand(RESULTS / "{basin}/summary.csv", basin=BASINS),


rule refresh:
    input:
        lambda wildcards: [
            mark for basin in BASINS for mark in cell_files(basin, ".refreshed")
        ],


# The run takes its basins; one line tells how far it is, a summary at its end what it took (docs/how-to/watch.md).
onstart:
    from headwater.runs import watch

    begin_run()
    watch.begin(workflow, LOGS, BENCHMARKS)


onsuccess:
    from headwater.runs import watch

    watch.end("done")


onerror:
    from headwater.runs import watch

    watch.end("failed")
