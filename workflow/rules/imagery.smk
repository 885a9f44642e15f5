"""composite, elevation: the inputs of the network, cell by cell.

Contains modified Copernicus Sentinel data; Copernicus DEM (c) DLR e.V. and Airbus Defence and Space GmbH.
"""


rule composite:
    input:
        scenes=rules.select.output.scenes,
        plan=rules.plan.output,
    output:
        unless_kept("composite"),
    log:
        LOGS / "{basin}/composite/{cell}.log",
    resources:
        **memory(4000, net=1, runtime=minutes(120)),
    params:
        **step("composite", untracked=["catalog"]),
    shell:
        "headwater composite --scenes {input.scenes:q} --plan {input.plan:q} --cell {wildcards.cell:q}"
        " {params.options} {params.untracked} --out {output:q} --log {log:q} 2> {log:q}"


rule elevation:
    input:
        dem=rules.select.output.dem,
        plan=rules.plan.output,
        polygons=RUN.polygons,
    output:
        unless_kept("elevation"),
    log:
        LOGS / "{basin}/elevation/{cell}.log",
    resources:
        **memory(1500, net=1, runtime=minutes(60)),
    params:
        **step("elevation", untracked=["catalog"]),
    shell:
        "headwater elevation --dem {input.dem:q} --plan {input.plan:q} --cell {wildcards.cell:q} --polygons {input.polygons:q}"
        " --basin {wildcards.basin:q} {params.options} {params.untracked} --out {output:q} --log {log:q} 2> {log:q}"
