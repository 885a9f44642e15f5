"""predict, mosaic: the probability of water at 20 m, cell by cell and side by side."""


use rule step as predict with:
    input:
        composite=rules.composite.output,
        elevation=rules.elevation.output,
        plan=rules.plan.output,
        # Known by its content (`identity`), not by the time of its file, which a new checkout changes.
        checkpoint=ancient(RUN.checkpoints),
    output:
        unless_kept("probability"),
    log:
        LOGS / "{basin}/predict/{cell}.log",
    threads: CONFIG.predict.threads
    resources:
        **memory(2000 + 2000 * CONFIG.predict.threads, gpu=RUN.gpus(), runtime=minutes(240)),
    params:
        **command(
            "predict --composite {input.composite} --elevation {input.elevation} --plan {input.plan}"
            " --cell {wildcards.cell} --out {output}",
            "predict",
            optional=RUN.checkpoints and "--checkpoint {input.checkpoint}",
            untracked=["predict"],
        ),


use rule step as mosaic with:
    input:
        plan=rules.plan.output,
        rasters=files_of_cells("probability.tif"),
    output:
        RESULTS / "{basin}/mosaic.vrt",
    log:
        LOGS / "{basin}/mosaic.log",
    resources:
        **memory(1000, runtime=minutes(10)),
    params:
        **command("mosaic --plan {input.plan} --rasters {rasters} --out {output}", rasters="probability.tif"),
