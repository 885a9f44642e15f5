"""The notebook of the tutorial runs on the results of a finished run."""

import nbformat
import pytest
from nbclient import NotebookClient

from support.places import ROOT

NOTEBOOK = ROOT / "docs" / "tutorials" / "quickstart.ipynb"


@pytest.mark.e2e
def test_the_notebook_runs_on_a_finished_run(finished, tmp_path, monkeypatch):
    folder, basin = finished
    monkeypatch.setenv("HEADWATER_RESULTS", str(folder / "results" / basin))
    # Away from the user's settings, and without a display.
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in shown) == 3
    assert not [output for output in shown if output.output_type == "error"]


def test_the_notebook_is_committed_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert NOTEBOOK.stat().st_size < 200_000
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
