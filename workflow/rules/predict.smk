"""predict, mosaic: the probability of water at 20 m, cell by cell and side by side."""


rule predict:
    input:
        composite=rules.composite.output,
        elevation=rules.elevation.output,
        plan=rules.plan.output,
        checkpoint=CHECKPOINT,
    output:
        RESULTS / "{basin}/cells/{cell}/probability.tif",
    log:
        LOGS / "{basin}/predict/{cell}.log",
    conda:
        "../../envs/headwater.yaml"
    resources:
        gpu=gpus_wanted(),
        mem_mb=4000,
    params:
        tile_px=config["predict"]["tile_px"],
        overlap_px=config["predict"]["overlap_px"],
        device=config["predict"]["device"],
        batch_size=config["predict"]["batch_size"],
        max_missing=option("--max-missing", config["predict"]["max_missing"]),
        version=STEP_VERSIONS["predict"],
    shell:
        "headwater predict --composite {input.composite} --elevation {input.elevation} --plan {input.plan}"
        " --cell {wildcards.cell} --checkpoint {input.checkpoint:q} --tile-px {params.tile_px}"
        " --overlap-px {params.overlap_px} --device {params.device} --batch-size {params.batch_size}"
        " {params.max_missing} --out {output} 2> {log}"


rule mosaic:
    input:
        lambda wildcards: cell_files(wildcards.basin, "probability.tif"),
    output:
        RESULTS / "{basin}/mosaic.vrt",
    log:
        LOGS / "{basin}/mosaic.log",
    conda:
        "../../envs/headwater.yaml"
    shell:
        "headwater mosaic --rasters {input} --out {output} 2> {log}"
