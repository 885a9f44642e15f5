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
    conda:
        "../../envs/headwater.yaml"
    resources:
        mem_mb=3000,
    params:
        version=STEP_VERSIONS["report"],
    shell:
        "headwater report --plan {input.plan} --network {input.network} --checks {input.checks}"
        " --composite {input.composite} --elevation {input.elevation} --probability {input.probability}"
        " --summary {output.summary} --page {output.page} 2> {log}"
