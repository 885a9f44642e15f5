"""What all steps have in common."""

STEP = "headwater {params.command} {params.options} {params.untracked} --log {log:q} 2> {log:q}"


# Each step is this rule with its own files and its own command, the subcommand of its name.
rule step:
    log:
        LOGS / "step.log",
    conda:
        "../../envs/headwater.yaml"
    shell:
        STEP
