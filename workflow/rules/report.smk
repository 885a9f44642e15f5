"""report, catalog: tables, figures, a page and a map for each basin; all results in a STAC catalog."""


use rule step as report with:
    input:
        plan=rules.plan.output,
        network=rules.network.output.network,
        checks=rules.network.output.checks,
        shapes=lambda wildcards: [*RUN.polygons, *RUN.lakes(wildcards.basin)],
        rasters=kept_files,
    output:
        summary=table(RESULTS / "{basin}/summary.csv"),
        page=RESULTS / "{basin}/report/index.html",
        map=[RESULTS / "{basin}/report/map.html", directory(RESULTS / "{basin}/report/map")],
        maps=maps(RESULTS / "{basin}/report/{name}.png"),
    log:
        LOGS / "{basin}/report.log",
    resources:
        **memory(3000, runtime=minutes(60)),
    params:
        **command(
            "report --plan {input.plan} --network {input.network} --checks {input.checks} --summary {output.summary}"
            " --page {output.page} --map {output.map[0]} --logs {LOGS}/{wildcards.basin}",
            optional=RUN.report_options,
            **{name: f"{name}.tif" for name in KEPT},
        ),


# Across basins: those of earlier runs stay listed.
use rule step as catalog with:
    input:
        lambda wildcards: RUN.catalog_inputs(),
    output:
        RESULTS / "catalog/catalog.json",
    log:
        LOGS / "catalog.log",
    resources:
        **memory(1500, runtime=minutes(120)),
    params:
        command=RUN.catalog_command,
        options="",
        untracked="",
