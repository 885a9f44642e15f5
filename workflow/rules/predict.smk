"""predict, mosaic: the probability of water at 20 m, cell by cell and side by side.

Published rasters (predict.source): Pierson, Fankhauser and Mehrabi (2026), arXiv:2412.00050, CC BY-SA 4.0.
"""


use rule step as predict with:
    input:
        # Composite and elevation; published rasters need no composite.
        unpack(lambda wildcards: RUN.predict_inputs(wildcards.basin, wildcards.cell)),
        # Known by its content (`identity`), not by the time of its file, which a new checkout changes.
        checkpoint=ancient(RUN.checkpoints),
    output:
        unless_kept("probability"),
    log:
        LOGS / "{basin}/predict/{cell}.log",
    threads: RUN.predict_threads
    resources:
        **memory(**RUN.predict_resources, runtime=minutes(240)),
    params:
        **command(RUN.predict_command, "predict", untracked=["predict"]),


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
