"""composite, elevation: the inputs of the network, cell by cell.

Contains modified Copernicus Sentinel data; Copernicus DEM (c) DLR e.V. and Airbus Defence and Space GmbH.
"""


use rule step as composite with:
    input:
        scenes=rules.select.output.scenes,
        plan=rules.plan.output,
    output:
        unless_kept("composite"),
    log:
        LOGS / "{basin}/composite/{cell}.log",
    resources:
        **memory(4000, net=1, runtime=minutes(120)),
    params:
        **command(
            "composite --scenes {input.scenes} --plan {input.plan} --cell {wildcards.cell} --out {output}",
            "composite",
            untracked=["catalog"],
        ),


use rule step as elevation with:
    input:
        dem=rules.select.output.dem,
        plan=rules.plan.output,
        polygons=RUN.polygons,
    output:
        unless_kept("elevation"),
    log:
        LOGS / "{basin}/elevation/{cell}.log",
    resources:
        **memory(1500, net=1, runtime=minutes(60)),
    params:
        **command(
            "elevation --dem {input.dem} --plan {input.plan} --cell {wildcards.cell} --polygons {input.polygons}"
            " --basin {wildcards.basin} --out {output}",
            "elevation",
            untracked=["catalog"],
        ),
