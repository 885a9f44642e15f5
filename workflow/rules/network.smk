"""backbone, vectorize, network: from probability and a stream network to one network."""


# TDX-Hydro: Carlson, Fort, Montgomery et al. (2024), NGA; reaches and catchments under ready-made names.
rule backbone:
    input:
        unpack(backbone_inputs),
    output:
        reaches=RESULTS / "{basin}/reaches.parquet",
        catchments=RESULTS / "{basin}/catchments.parquet",
    log:
        LOGS / "{basin}/backbone.log",
    # First of all: a file that is not TDX-Hydro is refused before anything is downloaded.
    priority: 10
    resources:
        **memory(4000, runtime=minutes(60)),
    params:
        **step("backbone", sources=backbone_sources),
    shell:
        "headwater backbone --plan {input.plan:q} {params.sources} {params.options} --reaches-out {output.reaches:q}"
        " --catchments-out {output.catchments:q} --log {log:q} 2> {log:q}"


# A catchment belongs to one cell but may reach into the next: only those are read, not the mosaic, so that new
# imagery in one place leaves the vectors of all others alone.
rule vectorize:
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
        **step("vectorize", water=water_option),
    shell:
        "headwater vectorize --probability {input.probability:q} --elevation {input.elevation:q} --reaches {input.reaches:q}"
        " --catchments {input.catchments:q} --cell {wildcards.cell:q} {params.options} {params.water}"
        " --out {output.waterways:q} --log {log:q} 2> {log:q}"


rule network:
    input:
        plan=rules.plan.output,
        segments=files_of_cells("waterways.parquet"),
        water=files_of_cells("water.parquet") if water("") else [],
        reaches=rules.backbone.output.reaches,
        lakes=CONFIG.network.lakes or [],
    output:
        network=RESULTS / "{basin}/waterways.parquet",
        checks=RESULTS / "{basin}/waterways.checks.json",
        formats=[RESULTS / "{basin}" / name for name in RUN.format_files()],
        water=water(RESULTS / "{basin}/water.parquet"),
    log:
        LOGS / "{basin}/network.log",
    resources:
        **memory(network_memory, runtime=minutes(120)),
    params:
        **step("network", segments=each_cell("waterways.parquet"), others=network_options),
    shell:
        "headwater network --plan {input.plan:q} --segments {params.segments} --reaches {input.reaches:q} {params.others}"
        " --basin {wildcards.basin:q} --out {output.network:q} --checks {output.checks:q} --log {log:q} 2> {log:q}"
