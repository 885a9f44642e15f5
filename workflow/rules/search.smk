"""plan, search, select: which cells, which items, which scenes; refresh makes the last two afresh."""

import time

SEARCH = (
    "headwater search --plan {params.folder:q}/plan.json --out {params.folder:q}/items.parquet"
    " --url {params.url:q} --datetime {params.datetime} --years-back {params.years_back}"
    " --max-cloud-cover {params.max_cloud_cover} --sentinel2-collection {params.sentinel2}"
    " --dem-collections {params.dem} --slice-days {resources.slice_days}"
    " --workers {resources.workers} --timeout-s {resources.timeout_s} --log {log:q} 2> {log:q}"
)
SEARCH_PARAMS = {
    "folder": basin_folder,
    "url": config["catalog"]["url"],
    "datetime": config["search"]["datetime"],
    "years_back": config["search"]["years_back"],
    "max_cloud_cover": config["search"]["max_cloud_cover"],
    "sentinel2": config["catalog"]["sentinel2_collection"],
    "dem": config["catalog"]["dem_collections"],
    "version": STEP_VERSIONS["search"],
}
# How the catalogue is asked changes nothing in what it answers, so it makes nothing again.
SEARCH_RESOURCES = {
    "net": 1,
    "mem_mb": raised(1500),
    "runtime": raised(120),
    "slice_days": config["search"]["slice_days"],
    "workers": config["search"]["workers"],
    "timeout_s": str(config["search"]["timeout_s"]),
}
# The cache holds statistics of scenes, shared by the cells of a basin; safe to delete at any time.
SELECT = (
    "headwater select --items {params.folder:q}/items.parquet --plan {params.folder:q}/plan.json"
    " --cell {wildcards.cell} --cache {params.folder:q}/scene_statistics"
    " --scenes-out {params.folder:q}/cells/{wildcards.cell}/scenes.json"
    " --dem-out {params.folder:q}/cells/{wildcards.cell}/dem.json"
    " --max-scenes {params.max_scenes} --cloud-steps {params.cloud_steps} --min-gain {params.min_gain}"
    " --stop-uncovered {params.stop_uncovered} --missing-scl {params.missing_scl}"
    " --signing {resources.signing} --token-url={resources.token_url:q} --log {log:q} 2> {log:q}"
)
# Snakemake takes the age of a benchmark for that of an output.
TOUCH_MANIFESTS = (
    "touch -c {params.folder:q}/cells/{wildcards.cell}/scenes.json {params.folder:q}/cells/{wildcards.cell}/dem.json"
    " {params.benchmark:q}"
)
SELECT_PARAMS = {
    "folder": basin_folder,
    "max_scenes": config["select"]["max_scenes"],
    "cloud_steps": config["select"]["cloud_steps"],
    "min_gain": config["select"]["min_gain"],
    "stop_uncovered": config["select"]["stop_uncovered"],
    "missing_scl": config["select"]["missing_scl"],
    "version": STEP_VERSIONS["select"],
}


rule plan:
    input:
        polygons=polygon_files(),
    output:
        RESULTS / "{basin}/plan.json",
    log:
        LOGS / "{basin}/plan.log",
    benchmark:
        BENCHMARKS / "{basin}/plan.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        mem_mb=raised(1500),
        runtime=raised(10),
    params:
        cell_degrees=config["grid"]["cell_degrees"],
        margin_px=config["grid"]["margin_px"],
    shell:
        "headwater plan --polygons {input.polygons:q} --basin {wildcards.basin}"
        " --cell-degrees {params.cell_degrees} --margin-px {params.margin_px} --out {output:q} --log {log:q} 2> {log:q}"


rule search:
    input:
        rules.plan.output,
    output:
        RESULTS / "{basin}/items.parquet",
    log:
        LOGS / "{basin}/search.log",
    benchmark:
        BENCHMARKS / "{basin}/search.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        **SEARCH_RESOURCES,
    params:
        **SEARCH_PARAMS,
    shell:
        SEARCH


rule select:
    input:
        pin=rules.search.output,
        plan=rules.plan.output,
    output:
        scenes=RESULTS / "{basin}/cells/{cell}/scenes.json",
        dem=RESULTS / "{basin}/cells/{cell}/dem.json",
    log:
        LOGS / "{basin}/select/{cell}.log",
    benchmark:
        BENCHMARKS / "{basin}/select/{cell}.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        net=1,
        signing=config["catalog"]["signing"],
        token_url=config["catalog"]["token_url"] or "",
        mem_mb=raised(1500),
        runtime=raised(60),
    params:
        **SELECT_PARAMS,
    shell:
        SELECT


# The two below write the outputs of the two above in place; a manifest that stays the same keeps its content, and
# nothing after it is made again. A mark that is there would end the matter: what makes it run each time it is asked for
# is a param that is never the same twice.


rule refresh_items:
    input:
        rules.plan.output,
    output:
        temp(touch(RESULTS / "{basin}/.refreshed")),
    log:
        LOGS / "{basin}/refresh_items.log",
    benchmark:
        BENCHMARKS / "{basin}/refresh_items.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        **SEARCH_RESOURCES,
    params:
        **SEARCH_PARAMS,
        asked=time.time_ns(),
    shell:
        SEARCH


rule refresh_scenes:
    input:
        rules.refresh_items.output,
    output:
        temp(touch(RESULTS / "{basin}/cells/{cell}/.refreshed")),
    log:
        LOGS / "{basin}/refresh_scenes/{cell}.log",
    benchmark:
        BENCHMARKS / "{basin}/refresh_scenes/{cell}.tsv"
    conda:
        "../../envs/headwater.yaml"
    resources:
        net=1,
        signing=config["catalog"]["signing"],
        token_url=config["catalog"]["token_url"] or "",
        mem_mb=raised(1500),
        runtime=raised(60),
    params:
        **SELECT_PARAMS,
        benchmark=rules.select.benchmark,
    shell:
        f"{SELECT} && {TOUCH_MANIFESTS}"
