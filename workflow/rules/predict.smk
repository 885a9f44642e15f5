"""predict, mosaic: the probability of water at 20 m, cell by cell; the rasters that are kept, side by side.

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
        rasters=kept_files,
    output:
        # mosaic.vrt, composite.vrt, elevation.vrt
        [RESULTS / "{basin}" / name for name in RUN.mosaics.values()],
    log:
        LOGS / "{basin}/mosaic.log",
    resources:
        **memory(1000, runtime=minutes(10)),
    params:
        **command(
            "mosaic --plan {input.plan}",
            optional=RUN.mosaic_options,
            **{name: f"{name}.tif" for name in RUN.mosaics},
        ),
