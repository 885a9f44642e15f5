import subprocess
import sys
import tomllib

import pytest

from headwater.core.errors import InputError
from headwater.core.extras import require_extra
from support.places import ROOT

EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
WITHOUT = """
import sys
from importlib.abc import MetaPathFinder

class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""
MODULES = (
    "starlette", "uvicorn", "odc", "stackstac", "tensorboard", "omnicloudmask", "mkdocs",
    "snakemake_executor_plugin_slurm",
)  # fmt: skip


def test_a_missing_extra_is_named_with_its_remedy():
    require_extra("demo", "json", purpose="The demo's catalog")
    with pytest.raises(InputError) as caught:
        require_extra("demo", "json", "no_such_module", purpose="The demo's catalog")
    assert "The demo's catalog needs the extra `demo`" in caught.value.cause
    assert "pip install '.[demo]'" in caught.value.remedy


def test_the_extras_are_those_that_messages_and_documents_name():
    assert set(EXTRAS) == {"demo", "readers", "train", "slurm", "masks", "explore", "docs", "dev"}
    documented = (ROOT / "docs/how-to/install.md").read_text()
    assert all(f"| `{extra}` |" in documented for extra in EXTRAS)


def test_no_module_of_the_core_imports_an_extra():
    """All wings but the demo's server are imported where no extra is installed."""
    source = ROOT / "src"
    names = sorted(
        ".".join(path.relative_to(source).with_suffix("").parts)
        for path in (source / "headwater").rglob("*.py")
        if path.stem not in ("__init__", "__main__") and "server" not in path.parts and path.stem != "demo_run"
    )
    code = WITHOUT.format(hidden=set(MODULES)) + f"import importlib\nfor name in {names}: importlib.import_module(name)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_demo_without_its_extra_says_what_to_install(tmp_path):
    command = f"from headwater.cli import main\nsys.exit(main({['demo', 'serve', str(tmp_path)]}))"
    code = WITHOUT.format(hidden=set(MODULES)) + command
    done = subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert "The demo's catalog needs the extra `demo`" in done.stderr
    assert "pip install '.[demo]'" in done.stderr
