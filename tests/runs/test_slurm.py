import os

import pytest

from headwater.core.errors import InputError
from headwater.runs.slurm import check_partitions


@pytest.fixture
def file(tmp_path, monkeypatch):
    """partitions.yaml on a machine whose `sinfo` prints two names."""
    sinfo = tmp_path / "sinfo"
    sinfo.write_text("#!/bin/sh\necho cpu\necho gpu\n")
    sinfo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return tmp_path / "partitions.yaml"


def test_an_unknown_partition_is_named_with_the_known_ones(file):
    file.write_text("partitions: {cpu: {max_runtime: 1d}, fat: {}, nowhere: , far: {cluster: other}}")
    with pytest.raises(InputError, match=r"no partition fat or nowhere, .*partitions.yaml names\. .*: cpu, gpu\."):
        check_partitions(file)


def test_known_partitions_and_machines_without_slurm_pass(file, monkeypatch):
    file.write_text("partitions: {cpu: {}, gpu: }")
    check_partitions(file)
    file.write_text("partitions: {nowhere: {}}")
    monkeypatch.setenv("PATH", "/nowhere")
    check_partitions(file)


def test_a_slurm_that_does_not_answer_is_ignored(file, monkeypatch):
    (file.parent / "sinfo").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("headwater.runs.slurm._SINFO_TIMEOUT_S", 0.2)
    file.write_text("partitions: {nowhere: {}}")
    check_partitions(file)


@pytest.mark.parametrize(
    "text", ["[a]", "partitions: [a]", "partitions: {a: b}", "partitions: {1: {}}", "a: {", "\xff"]
)
def test_a_file_that_is_no_table_of_partitions_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.setattr("headwater.runs.slurm._known_partitions", lambda: {"cpu"})
    (tmp_path / "p.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="no table of Slurm"):
        check_partitions(tmp_path / "p.yaml")
