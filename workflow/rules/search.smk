"""plan, search, select: which cells, which items, which scenes; refresh makes the last two again."""

import time

SEARCH = (
    "headwater search --plan {params.folder:q}/plan.json --out {params.folder:q}/items.parquet"
    " {params.options} {params.untracked} --log {log:q} 2> {log:q}"
)
SEARCH_PARAMS = step("search", "catalog", untracked=["search"], folder=basin_folder)
# The cache holds statistics of scenes, shared by the cells of a basin; it may be deleted at any time.
SELECT = (
    "headwater select --items {params.folder:q}/items.parquet --plan {params.folder:q}/plan.json"
    " --cell {wildcards.cell:q} --cache {params.folder:q}/scene_statistics"
    " --scenes-out {params.folder:q}/cells/{wildcards.cell:q}/scenes.json"
    " --dem-out {params.folder:q}/cells/{wildcards.cell:q}/dem.json"
    " {params.options} {params.untracked} --log {log:q} 2> {log:q}"
)
SELECT_PARAMS = step("select", untracked=["catalog"], folder=basin_folder)


rule plan:
    input:
        polygons=RUN.polygons,
    output:
        RESULTS / "{basin}/plan.json",
    log:
        LOGS / "{basin}/plan.log",
    resources:
        **memory(1500, runtime=minutes(10)),
    params:
        **step("grid"),
    shell:
        "headwater plan --polygons {input.polygons:q} --basin {wildcards.basin:q} {params.options}"
        " --out {output:q} --log {log:q} 2> {log:q}"


rule search:
    input:
        rules.plan.output,
    output:
        RESULTS / "{basin}/items.parquet",
    log:
        LOGS / "{basin}/search.log",
    resources:
        **memory(1500, net=1, runtime=minutes(120)),
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
    resources:
        **memory(1500, net=1, runtime=minutes(60)),
    params:
        **SELECT_PARAMS,
    shell:
        SELECT


# The two below write the outputs of the two above in place. A manifest that stays the same keeps its content, and
# nothing after it runs again. `requested` is never the same twice, so each refresh runs.


use rule search as refresh_items with:
    output:
        temp(touch(RESULTS / "{basin}/.refreshed")),
    log:
        LOGS / "{basin}/refresh_items.log",
    params:
        **SEARCH_PARAMS,
        requested=time.time_ns(),


rule refresh_scenes:
    input:
        rules.refresh_items.output,
    output:
        temp(touch(RESULTS / "{basin}/cells/{cell}/.refreshed")),
    log:
        LOGS / "{basin}/refresh_scenes/{cell}.log",
    resources:
        **memory(1500, net=1, runtime=minutes(60)),
    params:
        **SELECT_PARAMS,
    shell:
        SELECT + " && touch -c {params.folder:q}/cells/{wildcards.cell:q}/scenes.json {params.folder:q}/cells/{wildcards.cell:q}/dem.json"
