"""report: tables, figures and a page for each basin."""


rule report:
    input:
        plan=rules.plan.output,
        network=rules.network.output.network,
        checks=rules.network.output.checks,
        composite=kept_files("composite"),
        elevation=kept_files("elevation"),
        probability=kept_files("probability"),
    output:
        summary=report(
            RESULTS / "{basin}/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
            subcategory="{basin}",
        ),
        page=RESULTS / "{basin}/report/index.html",
        maps=report(
            expand(
                RESULTS / "{{basin}}/report/{name}.png",
                name=("network", "sources", *KEPT),
            ),
            caption="../report/maps.rst",
            category="Maps",
            subcategory="{basin}",
        ),
    log:
        LOGS / "{basin}/report.log",
    benchmark:
        BENCHMARKS / "{basin}/report.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        mem_mb=raised(3000),
        runtime=raised(60),
    params:
        rasters=lambda wildcards: [
            f"--{name} {of_all_cells(f'{name}.tif')(wildcards)}" for name in KEPT
        ],
        # What they say is no input: the page is not made again for another time that a job took.
        benchmarks=lambda wildcards: str(BENCHMARKS / wildcards.basin),
        version=STEP_VERSIONS["report"],
    shell:
        "headwater report --plan {input.plan:q} --network {input.network:q} --checks {input.checks:q}"
        " {params.rasters} --summary {output.summary:q} --page {output.page:q}"
        " --benchmarks {params.benchmarks:q} --log {log:q} 2> {log:q}"
