"""backbone, vectorize, network: from probability and a stream network to one network."""


# TDX-Hydro: Carlson, Fort, Montgomery et al. (2024), NGA; reaches and catchments under ready-made names.
use rule step as backbone with:
    input:
        unpack(backbone_inputs),
    output:
        reaches=RESULTS / "{basin}/reaches.parquet",
        catchments=RESULTS / "{basin}/catchments.parquet",
    log:
        LOGS / "{basin}/backbone.log",
    priority: 10
    resources:
        **memory(4000, runtime=minutes(60)),
    params:
        **command(
            "backbone --plan {input.plan} --reaches-out {output.reaches} --catchments-out {output.catchments}",
            "backbone",
            optional=RUN.backbone_sources,
            elevation="elevation.tif",
            probability="probability.tif",
        ),


# A catchment belongs to one cell but may reach into the next: only those are read, not the mosaic, so that new
# imagery in one place leaves the vectors of all others alone.
use rule step as vectorize with:
    input:
        probability=files_of_neighbors("probability.tif"),
        elevation=files_of_neighbors("elevation.tif"),
        reaches=rules.backbone.output.reaches,
        catchments=rules.backbone.output.catchments,
    output:
        waterways=RESULTS / "{basin}/cells/{cell}/waterways.parquet",
        water=water(RESULTS / "{basin}/cells/{cell}/water.parquet"),
    log:
        LOGS / "{basin}/vectorize/{cell}.log",
    resources:
        **memory(3000, runtime=minutes(120)),
    params:
        **command(
            "vectorize --probability {input.probability} --elevation {input.elevation} --reaches {input.reaches}"
            " --catchments {input.catchments} --cell {wildcards.cell} --out {output.waterways}",
            "vectorize",
            optional=CONFIG.vectorize.water_polygons and "--water-out {output.water}",
        ),


use rule step as network with:
    input:
        plan=rules.plan.output,
        segments=files_of_cells("waterways.parquet"),
        water=files_of_cells("water.parquet") if CONFIG.vectorize.water_polygons else [],
        reaches=rules.backbone.output.reaches,
        lakes=lambda wildcards: RUN.lakes(wildcards.basin),
    output:
        network=RESULTS / "{basin}/waterways.parquet",
        checks=RESULTS / "{basin}/waterways.checks.json",
        formats=[RESULTS / "{basin}" / name for name in RUN.format_files()],
        water=water(RESULTS / "{basin}/water.parquet"),
    log:
        LOGS / "{basin}/network.log",
    resources:
        **memory(lambda input: network_mb(input.segments), runtime=minutes(120)),
    params:
        **command(
            "network --plan {input.plan} --segments {segments} --reaches {input.reaches} --basin {wildcards.basin}"
            " --out {output.network} --checks {output.checks}",
            optional=RUN.network_options,
            segments="waterways.parquet",
            water="water.parquet",
        ),
