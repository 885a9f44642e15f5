"""`headwater run`: the command of Snakemake, and the workflow in a wheel."""

import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from headwater.cli import main
from headwater.cli.entry import _split
from headwater.core.errors import InputError
from headwater.project import run as run_module
from headwater.project.run import run_project, snakemake_options
from headwater.project.snakemake_call import workflow_folder
from support.places import ROOT


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "p", "--bbox", "30.1", "1.0", "30.4", "1.2"]) == 0
    return Path("p")


@pytest.fixture
def calls(monkeypatch):
    found = []
    monkeypatch.setattr(run_module, "call_snakemake", lambda options: found.append(options) or 0)
    return found


def test_a_run_names_the_files_of_the_project(project, calls):
    here = Path.cwd()
    files = ["--snakefile", f"{ROOT}/Snakefile", "--directory", f"{here}/p", "--configfile", f"{here}/p/config.yaml"]
    assert main(["run", "p"]) == 0
    assert main(["run", "p", "-n", "--cores", "2", "--", "--forcerun", "report"]) == 0
    assert main(["run", "p", "--unlock", "--refresh"]) == 0
    assert main(["run", "p", "--refresh", "--profile", "slurm"]) == 0
    slurm = ["--workflow-profile", f"{ROOT}/profiles/slurm"]
    assert calls == [
        [*files, "--cores", "all"],
        [*files, "--cores", "2", "--dry-run", "--forcerun", "report"],
        [*files, "--cores", "all", "--unlock"],
        [*files, *slurm, "--", "refresh"],
        [*files, *slurm],
    ]


def test_a_failing_refresh_is_the_end(project, monkeypatch):
    calls = []
    monkeypatch.setattr(run_module, "call_snakemake", lambda options: calls.append(options) or 3)
    assert run_project(project, refresh=True) == 3
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [({"cores": "0"}, "--cores"), ({"cores": "x"}, "--cores"), ({"profile": "slrm"}, "one of aws-batch, .* slurm")],
)
def test_bad_options_are_refused(project, options, words):
    with pytest.raises(InputError, match=words):
        snakemake_options(project, **{"cores": None, "profile": None} | options)


def test_a_folder_without_a_configuration_is_no_project(tmp_path):
    with pytest.raises(InputError, match="not the folder of a project"):
        snakemake_options(tmp_path, cores=None, profile=None)


def test_only_run_passes_words_on():
    assert _split(["run", "p", "--", "a", "--", "b"]) == (["run", "p"], ["a", "--", "b"])
    assert _split(["plan", "--", "a"]) == (["plan", "--", "a"], None)


def test_a_stopped_run_waits_for_snakemake_and_has_its_exit_code(tmp_path):
    """Snakemake removes what is half done; who ended before it would leave it behind."""
    program = tmp_path / "snakemake"
    program.write_text(
        "#!/bin/sh\ntrap 'sleep 0.5; echo cleaned; exit 7' TERM\necho ready\nwhile :; do sleep 0.1; done\n"
    )
    program.chmod(0o755)
    code = (
        "import sys; from headwater.project.snakemake_call import call_snakemake\n"
        f"sys.executable = {str(tmp_path / 'python')!r}; sys.exit(call_snakemake([]))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20)[0] == "cleaned\n"
        assert process.returncode == 7


def test_an_installed_package_brings_the_workflow(project, tmp_path):
    """A wheel, unpacked in an empty folder, runs without the checkout."""
    # A build writes into the folder that it builds.
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    for name in ("Snakefile", "workflow", "profiles", "envs", "src/headwater", "setup.py", "README.md", "LICENSE"):
        (source / name).symlink_to(ROOT / name)
    (source / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    build = f"from setuptools import build_meta as b; print(b.build_wheel({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as wheel:
        names = set(wheel.namelist())
        wheel.extractall(tmp_path / "installed")
    for part in ("workflow", "profiles", "envs"):
        for path in (ROOT / part).rglob("*.*"):
            assert f"headwater/_workflow/{path.relative_to(ROOT)}" in names
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-m", "headwater", "run", "p", "-n"],
        env=environment | {"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    text = done.stdout + done.stderr
    assert done.returncode == 0, text
    assert f"{tmp_path}/installed/headwater/_workflow/profiles/default" in text
    assert "vectorize        2" in text


def test_a_checkout_uses_its_own_workflow():
    assert workflow_folder() == ROOT
