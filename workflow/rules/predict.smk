"""predict, mosaic: the probability of water at 20 m, cell by cell and side by side."""


rule predict:
    input:
        composite=rules.composite.output,
        elevation=rules.elevation.output,
        plan=rules.plan.output,
        # By its identity, not by the time of its file, which a new checkout changes.
        checkpoint=ancient(CHECKPOINTS),
    output:
        unless_kept("probability"),
    log:
        LOGS / "{basin}/predict/{cell}.log",
    benchmark:
        BENCHMARKS / "{basin}/predict/{cell}.tsv"
    conda:
        "../../envs/headwater.yaml"
    threads: config["predict"]["threads"]
    resources:
        gpu=gpus_wanted(),
        # Where it is computed is no part of the result: a resource, not a param.
        device=config["predict"]["device"],
        compiled=flag("compile", config["predict"]["compile"]),
        batch_size=config["predict"]["batch_size"],
        mem_mb=raised(2000 + 2000 * config["predict"]["threads"]),
        runtime=raised(240),
    params:
        tile_px=config["predict"]["tile_px"],
        overlap_px=config["predict"]["overlap_px"],
        checkpoint=checkpoint_identity(),
        weights=checkpoint_option,
        max_missing=option("--max-missing", config["predict"]["max_missing"]),
        dtype=config["predict"]["dtype"],
        tta=flag("tta", config["predict"]["tta"]),
        version=STEP_VERSIONS["predict"],
    shell:
        "headwater predict --composite {input.composite:q} --elevation {input.elevation:q} --plan {input.plan:q}"
        " --cell {wildcards.cell} {params.weights} --tile-px {params.tile_px}"
        " --overlap-px {params.overlap_px} --device {resources.device} --dtype {params.dtype} {resources.compiled}"
        " --batch-size {resources.batch_size} --threads {threads} {params.tta} {params.max_missing} --out {output:q} --log {log:q} 2> {log:q}"


rule mosaic:
    input:
        plan=rules.plan.output,
        rasters=lambda wildcards: cell_files(wildcards.basin, "probability.tif"),
    output:
        RESULTS / "{basin}/mosaic.vrt",
    log:
        LOGS / "{basin}/mosaic.log",
    benchmark:
        BENCHMARKS / "{basin}/mosaic.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        mem_mb=raised(1000),
        runtime=raised(10),
    params:
        rasters=of_all_cells("probability.tif"),
    shell:
        "headwater mosaic --plan {input.plan:q} --rasters {params.rasters} --out {output:q} --log {log:q} 2> {log:q}"
