"""report: tables, figures and a page for each basin."""


rule report:
    input:
        plan=rules.plan.output,
        network=rules.network.output.network,
        checks=rules.network.output.checks,
        composite=lambda wildcards: cell_files(wildcards.basin, "composite.tif"),
        elevation=lambda wildcards: cell_files(wildcards.basin, "elevation.tif"),
        probability=lambda wildcards: cell_files(wildcards.basin, "probability.tif"),
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
                name=("network", "sources", "composite", "elevation", "probability"),
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
        composite=of_all_cells("composite.tif"),
        elevation=of_all_cells("elevation.tif"),
        probability=of_all_cells("probability.tif"),
        # What they say is no input: the page is not made again for another time that a job took.
        benchmarks=lambda wildcards: str(BENCHMARKS / wildcards.basin),
        version=STEP_VERSIONS["report"],
    shell:
        "headwater report --plan {input.plan:q} --network {input.network:q} --checks {input.checks:q}"
        " --composite {params.composite} --elevation {params.elevation} --probability {params.probability}"
        " --summary {output.summary:q} --page {output.page:q} --benchmarks {params.benchmarks:q} --log {log:q} 2> {log:q}"
