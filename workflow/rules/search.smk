"""plan, search, select: which cells, which items, which scenes; refresh makes the last two again."""

import time

# The cache holds statistics of scenes, shared by the cells of a basin; it may be deleted at any time.
SEARCH = command(
    "search --plan {folder}/plan.json --out {folder}/items.parquet",
    *("catalog", "search"),
    untracked=["catalog", "search"],
)
SELECT = command(
    "select --items {folder}/items.parquet --plan {folder}/plan.json --cell {wildcards.cell} --cache {folder}/scene_statistics"
    " --scenes-out {folder}/cells/{wildcards.cell}/scenes.json --dem-out {folder}/cells/{wildcards.cell}/dem.json",
    "select",
    untracked=["catalog"],
)


use rule step as plan with:
    input:
        polygons=RUN.polygons,
    output:
        RESULTS / "{basin}/plan.json",
    log:
        LOGS / "{basin}/plan.log",
    resources:
        **memory(1500, runtime=minutes(10)),
    params:
        **command("plan --polygons {input.polygons} --basin {wildcards.basin} --out {output}", "grid"),


use rule step as search with:
    input:
        rules.plan.output,
    output:
        RESULTS / "{basin}/items.parquet",
    log:
        LOGS / "{basin}/search.log",
    resources:
        **memory(1500, net=1, runtime=minutes(120)),
    params:
        **SEARCH,


use rule step as select with:
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
        **SELECT,


# The two below write the outputs of the two above in place. A manifest that stays the same keeps its content, and
# nothing after it runs again. `requested` is never the same twice, so each refresh runs.


use rule search as refresh_items with:
    output:
        temp(touch(RESULTS / "{basin}/.refreshed")),
    log:
        LOGS / "{basin}/refresh_items.log",
    params:
        **SEARCH,
        requested=time.time_ns(),


rule refresh_scenes:
    input:
        rules.refresh_items.output,
    output:
        temp(touch(RESULTS / "{basin}/cells/{cell}/.refreshed")),
    log:
        LOGS / "{basin}/refresh_scenes/{cell}.log",
    conda:
        "../../envs/headwater.yaml"
    resources:
        **memory(1500, net=1, runtime=minutes(60)),
    params:
        **SELECT,
        manifests=manifests,
    shell:
        STEP + " && touch -c {params.manifests:q}"
