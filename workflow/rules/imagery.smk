"""composite, elevation: the inputs of the network, cell by cell.

Contains modified Copernicus Sentinel data; Copernicus DEM (c) DLR e.V. and Airbus Defence and Space GmbH.
"""


rule composite:
    input:
        scenes=rules.select.output.scenes,
        plan=rules.plan.output,
    output:
        RESULTS / "{basin}/cells/{cell}/composite.tif",
    log:
        LOGS / "{basin}/composite/{cell}.log",
    conda:
        "../../envs/headwater.yaml"
    resources:
        net=1,
        mem_mb=4000,
    params:
        method=config["composite"]["method"],
        dilate_px=config["composite"]["dilate_px"],
        signing=signing_options(),
        version=STEP_VERSIONS["composite"],
    shell:
        "headwater composite --scenes {input.scenes} --plan {input.plan} --cell {wildcards.cell}"
        " --method {params.method} --dilate-px {params.dilate_px} {params.signing} --out {output} 2> {log}"


rule elevation:
    input:
        dem=rules.select.output.dem,
        plan=rules.plan.output,
    output:
        RESULTS / "{basin}/cells/{cell}/elevation.tif",
    log:
        LOGS / "{basin}/elevation/{cell}.log",
    conda:
        "../../envs/headwater.yaml"
    resources:
        net=1,
        mem_mb=1000,
    params:
        missing=config["elevation"]["missing"],
        signing=signing_options(),
        version=STEP_VERSIONS["elevation"],
    shell:
        "headwater elevation --dem {input.dem} --plan {input.plan} --cell {wildcards.cell}"
        " --missing {params.missing} {params.signing} --out {output} 2> {log}"
