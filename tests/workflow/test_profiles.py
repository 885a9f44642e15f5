"""Each profile is read as Snakemake reads it, and names existing options, rules and resources."""

import re
import subprocess

import pytest
import yaml
from snakemake.cli import get_argument_parser
from snakemake.profiles import ProfileConfigFileParser
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

from support.places import ROOT

PROFILES = sorted(path.name for path in (ROOT / "profiles").iterdir())
RULES = "\n".join(path.read_text() for path in sorted((ROOT / "workflow/rules").glob("*.smk")))
# Options of plugins that the tests do not install, from their documentation (kubernetes 0.5.1, aws-batch 0.2.1).
DOCUMENTED = {
    "kubernetes": {
        "namespace", "cpu-scalar", "service-account-name", "privileged", "persistent-volumes", "omit-job-cleanup",
    },
    "aws-batch": {"region", "job-queue", "job-role", "tags", "task-timeout"},
}  # fmt: skip


def read(name):
    return yaml.safe_load((ROOT / "profiles" / name / "config.yaml").read_text())


def options():
    """Return every option of `snakemake --help`, including installed plugins, without the dashes."""
    flags = [flag for action in get_argument_parser()._actions for flag in action.option_strings]
    return {flag.removeprefix("--") for flag in flags if flag.startswith("--")}


def test_these_profiles_exist():
    assert PROFILES == ["aws-batch", "cluster-generic", "default", "kubernetes", "slurm"]


@pytest.mark.parametrize("name", PROFILES)
def test_every_key_is_an_option(name):
    profile = read(name)
    executor = profile.get("executor")
    assert executor == (None if name == "default" else name)
    known = options()
    if executor is not None and executor not in ExecutorPluginRegistry().get_registered_plugins():
        known |= {f"{executor}-{option}" for option in DOCUMENTED[executor]}
    assert set(profile) <= known, sorted(set(profile) - known)
    with (ROOT / "profiles" / name / "config.yaml").open() as stream:
        assert set(ProfileConfigFileParser().parse(stream)) == set(profile)


@pytest.mark.parametrize("name", PROFILES)
def test_set_resources_names_rules_and_bounds_are_requested_by_rules(name):
    profile = read(name)
    assert set(profile.get("set-resources", {})) <= set(
        re.findall(r"^(?:use )?rule (?:\w+ as )?(\w+)", RULES, flags=re.M)
    )
    requested = RULES + (ROOT / "src/headwater/project/workflow.py").read_text()
    for resource in profile["resources"]:
        assert re.search(rf'\b{resource}=|"{resource}":', requested), resource


def test_every_rule_asks_for_memory_and_time():
    """Each says so itself or has the resources of the rule that it is made of."""
    for base, name, body in re.findall(
        r"^use rule (\w+) as (\w+) with:(.*?)(?=^(?:use )?rule |\Z)", RULES, flags=re.M | re.S
    ):
        if base == "step":
            assert re.search(r"\*\*memory\([^\n]*runtime=minutes\(\d+\)\)", body), name


def test_the_documentation_names_each_profile():
    text = (ROOT / "docs/how-to/cluster.md").read_text()
    for name in PROFILES:
        assert f"profiles/{name}" in text, name


@pytest.mark.parametrize(
    ("scontrol", "sacct", "state"),
    [
        ("echo JobId=7 JobState=PENDING Reason=None", "exit 1", "running"),
        ("echo JobId=7 JobState=COMPLETED", "exit 1", "success"),
        ("echo JobId=7 JobState=OUT_OF_MEMORY", "exit 1", "failed"),
        ("echo slurm_load_jobs error: Unable to contact slurm controller >&2; exit 1", "exit 1", "running"),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", "echo COMPLETED", "success"),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", "echo CANCELLED by 0", "failed"),
        ("echo slurm_load_jobs error: Invalid job id specified >&2; exit 1", "exit 1", "failed"),
    ],
)
def test_the_state_of_a_job_is_reported_even_if_slurm_has_forgotten_it(tmp_path, scontrol, sacct, state):
    for name, words in {"scontrol": scontrol, "sacct": sacct}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{words}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [str(ROOT / "profiles/cluster-generic/status.sh"), "7"], capture_output=True, text=True, check=True,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
    )  # fmt: skip
    assert done.stdout.strip() == state
