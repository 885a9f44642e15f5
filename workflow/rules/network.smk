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
    benchmark:
        BENCHMARKS / "{basin}/backbone.tsv"
    # First of all: a file that is not TDX-Hydro is refused before anything is downloaded.
    priority: 10
    conda:
        "../../envs/headwater.yaml"
    resources:
        mem_mb=raised(4000),
        runtime=raised(60),
    params:
        kind=config["backbone"]["kind"],
        sources=backbone_sources,
        version=STEP_VERSIONS["backbone"],
    shell:
        "headwater backbone --plan {input.plan:q} --kind {params.kind} {params.sources}"
        " --reaches-out {output.reaches:q} --catchments-out {output.catchments:q} --log {log:q} 2> {log:q}"


# A catchment belongs to one cell but may reach into the next: only those are read, not the mosaic, so that new
# imagery in one place leaves the vectors of all others alone.
rule vectorize:
    input:
        probability=neighbour_files("probability.tif"),
        elevation=neighbour_files("elevation.tif"),
        reaches=rules.backbone.output.reaches,
        catchments=rules.backbone.output.catchments,
    output:
        waterways=RESULTS / "{basin}/cells/{cell}/waterways.parquet",
        water=water_files(RESULTS / "{basin}/cells/{cell}/water.parquet"),
    log:
        LOGS / "{basin}/vectorize/{cell}.log",
    benchmark:
        BENCHMARKS / "{basin}/vectorize/{cell}.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        mem_mb=raised(3000),
        runtime=raised(120),
    params:
        threshold=config["vectorize"]["threshold"],
        floor=config["vectorize"]["floor"],
        min_piece_px=config["vectorize"]["min_piece_px"],
        bits_below_floor=config["vectorize"]["bits_below_floor"],
        worth_per_px=config["vectorize"]["worth_per_px"],
        method=config["vectorize"]["method"],
        water=lambda wildcards, output: option(
            "--water-out", output.water and shlex.quote(output.water[0]) or None
        ),
        version=STEP_VERSIONS["vectorize"],
    shell:
        "headwater vectorize --probability {input.probability:q} --elevation {input.elevation:q}"
        " --reaches {input.reaches:q} --catchments {input.catchments:q} --cell {wildcards.cell}"
        " --threshold {params.threshold} --floor {params.floor} --min-piece-px {params.min_piece_px}"
        " --bits-below-floor {params.bits_below_floor} --worth-per-px {params.worth_per_px} --method {params.method}"
        " --out {output.waterways:q} {params.water} --log {log:q} 2> {log:q}"


rule network:
    input:
        plan=rules.plan.output,
        segments=lambda wildcards: cell_files(wildcards.basin, "waterways.parquet"),
        water=lambda wildcards: water_files(
            *cell_files(wildcards.basin, "water.parquet")
        ),
        reaches=rules.backbone.output.reaches,
        lakes=config["network"]["lakes"] or [],
    output:
        network=RESULTS / "{basin}/waterways.parquet",
        checks=RESULTS / "{basin}/waterways.checks.json",
        formats=[
            RESULTS / "{basin}" / f"waterways{FORMATS[name]}"
            for name in config["network"]["formats"]
        ],
        water=water_files(RESULTS / "{basin}/water.parquet"),
    log:
        LOGS / "{basin}/network.log",
    benchmark:
        BENCHMARKS / "{basin}/network.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        mem_mb=network_memory,
        runtime=raised(120),
    params:
        segments=of_all_cells("waterways.parquet"),
        lakes=lambda wildcards, input: (
            f"--lakes {shlex.quote(input.lakes)}" if input.lakes else ""
        ),
        formats=[f"--format {name}" for name in config["network"]["formats"]],
        water=water_of_all_cells,
        version=STEP_VERSIONS["network"],
    shell:
        "headwater network --plan {input.plan:q} --segments {params.segments} --reaches {input.reaches:q}"
        " {params.lakes} {params.formats} {params.water}"
        " --basin {wildcards.basin} --out {output.network:q} --checks {output.checks:q} --log {log:q} 2> {log:q}"
