"""composite, elevation: the inputs of the network, cell by cell.

Contains modified Copernicus Sentinel data; Copernicus DEM (c) DLR e.V. and Airbus Defence and Space GmbH. How scenes are reached is a resource, not a param: another token endpoint makes
nothing again.
"""


rule composite:
    input:
        scenes=rules.select.output.scenes,
        plan=rules.plan.output,
    output:
        unless_kept("composite"),
    log:
        LOGS / "{basin}/composite/{cell}.log",
    benchmark:
        BENCHMARKS / "{basin}/composite/{cell}.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        net=1,
        signing=config["catalog"]["signing"],
        token_url=config["catalog"]["token_url"] or "",
        mem_mb=raised(4000),
        runtime=raised(120),
    params:
        method=config["composite"]["method"],
        dilate_px=config["composite"]["dilate_px"],
        mask=config["composite"]["mask"],
        allow_cloud="--allow-cloud" if config["composite"]["allow_cloud"] else "",
        reader=config["composite"]["reader"],
        version=STEP_VERSIONS["composite"],
    shell:
        "headwater composite --scenes {input.scenes:q} --plan {input.plan:q} --cell {wildcards.cell}"
        " --method {params.method} --dilate-px {params.dilate_px} --mask {params.mask} {params.allow_cloud}"
        " --reader {params.reader} --signing {resources.signing} --token-url={resources.token_url:q} --out {output:q} --log {log:q} 2> {log:q}"


rule elevation:
    input:
        dem=rules.select.output.dem,
        plan=rules.plan.output,
        polygons=polygon_files(),
    output:
        unless_kept("elevation"),
    log:
        LOGS / "{basin}/elevation/{cell}.log",
    benchmark:
        BENCHMARKS / "{basin}/elevation/{cell}.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        net=1,
        signing=config["catalog"]["signing"],
        token_url=config["catalog"]["token_url"] or "",
        mem_mb=raised(1500),
        runtime=raised(60),
    params:
        missing=config["elevation"]["missing"],
        version=STEP_VERSIONS["elevation"],
    shell:
        "headwater elevation --dem {input.dem:q} --plan {input.plan:q} --cell {wildcards.cell}"
        " --polygons {input.polygons:q} --basin {wildcards.basin}"
        " --missing {params.missing} --signing {resources.signing} --token-url={resources.token_url:q} --out {output:q} --log {log:q} 2> {log:q}"
