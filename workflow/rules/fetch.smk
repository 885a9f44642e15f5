"""fetch: what a basin lacks in the data folder, which projects share; its receipt is the input of what reads it."""


# TDX-Hydro: Carlson et al. (2024), NGA; HydroLAKES: Messager et al. (2016), CC BY 4.0. See docs/reference/data.md.
use rule step as fetch with:
    output:
        RESULTS / "{basin}/fetched/{source}.json",
    log:
        LOGS / "{basin}/fetch_{source}.log",
    wildcard_constraints:
        source="tdx-hydro|hydrolakes",
    priority: 20
    resources:
        **memory(1500, net=1, runtime=minutes(1440)),
    params:
        **command("fetch {wildcards.source} --receipt {output}", optional=RUN.fetch_options),
