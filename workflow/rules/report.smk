"""report: tables, figures and a page for each basin."""

MAPS = expand(
    RESULTS / "{{basin}}/report/{name}.png", name=("network", "sources", *KEPT)
)


rule report:
    input:
        plan=rules.plan.output,
        network=rules.network.output.network,
        checks=rules.network.output.checks,
        rasters=kept_files,
    output:
        summary=report(RESULTS / "{basin}/summary.csv", caption="../report/summary.rst", **caption("Tables")),
        page=RESULTS / "{basin}/report/index.html",
        maps=report(MAPS, caption="../report/maps.rst", **caption("Maps")),
    log:
        LOGS / "{basin}/report.log",
    resources:
        **memory(3000, runtime=minutes(60)),
    params:
        **step("report", rasters=kept_options, logs=lambda wildcards: str(LOGS / wildcards.basin)),
    shell:
        "headwater report --plan {input.plan:q} --network {input.network:q} --checks {input.checks:q} {params.rasters}"
        " --summary {output.summary:q} --page {output.page:q} --logs {params.logs:q} --log {log:q} 2> {log:q}"
