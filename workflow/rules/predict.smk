"""predict, mosaic: the probability of water at 20 m, cell by cell and side by side."""


rule predict:
    input:
        composite=rules.composite.output,
        elevation=rules.elevation.output,
        plan=rules.plan.output,
        # Known by its content (`identity`), not by the time of its file, which a new checkout changes.
        checkpoint=ancient(CHECKPOINTS),
    output:
        unless_kept("probability"),
    log:
        LOGS / "{basin}/predict/{cell}.log",
    threads: CONFIG.predict.threads
    resources:
        **memory(2000 + 2000 * CONFIG.predict.threads, gpu=RUN.gpus(), runtime=minutes(240)),
    params:
        **step("predict", untracked=["predict"], weights=checkpoint_option),
    shell:
        "headwater predict --composite {input.composite:q} --elevation {input.elevation:q} --plan {input.plan:q}"
        " --cell {wildcards.cell:q} {params.weights} {params.options} {params.untracked} --out {output:q} --log {log:q} 2> {log:q}"


rule mosaic:
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
        rasters=each_cell("probability.tif"),
    shell:
        "headwater mosaic --plan {input.plan:q} --rasters {params.rasters} --out {output:q} --log {log:q} 2> {log:q}"
