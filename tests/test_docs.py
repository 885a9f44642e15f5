"""Documents name files that exist. `make docs` checks the links within the site."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from support.places import ROOT

PAGES = [
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
]
PAGES += [ROOT / "results/README.md", ROOT / "config/README.md"]
GENERATED = {"docs/reference/commands.md"}
PATH = re.compile(r"`((?:src|tests|workflow|profiles|config|benchmarks|docs|envs|\.ci|\.github)/[\w./-]*[\w/])`")
CITED = re.compile(r"docs/[\w./-]+\.(?:md|ipynb)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_paths_and_links_lead_to_files(page):
    text = page.read_text()
    for path in PATH.findall(text):
        assert (ROOT / path).exists() or path in GENERATED, path
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in link and not link.startswith("reference/python/"):
            target = (page.parent / link).resolve()
            assert target.exists() or str(target.relative_to(ROOT)) in GENERATED, link


def test_where_is_what_names_files_and_names_that_exist():
    lines = (ROOT / "docs/reference/where-is-what.md").read_text().splitlines()
    rows = [[part.strip() for part in line.split("|")[2:4]] for line in lines if line.startswith("| ")]
    assert len(rows) > 50
    for files, names in rows:
        found = [
            path if path.startswith(("workflow/", "profiles/", "src/")) else f"src/headwater/{path}"
            for path in re.findall(r"`([\w./-]+/[\w./-]*)`", files)
        ]
        assert all((ROOT / path).exists() for path in found), files
        text = "".join((ROOT / path).read_text() for path in found if (ROOT / path).is_file())
        for name in re.findall(r"`(\w+)`", names):
            assert not text or re.search(rf"\b{name}\b", text), f"{name} is not in {files}"


def test_limits_are_those_of_the_code():
    rows = re.findall(
        r"^\| (.+?) \| ([\d,]+) \| `(.+?)\.py` \| `(\w+)` \|$", (ROOT / "docs/reference/limits.md").read_text(), re.M
    )
    assert len(rows) > 20
    for what, stated, file, name in rows:
        module = import_module(f"headwater.{file.replace('/', '.')}")
        assert int(stated.replace(",", "")) == getattr(module, name), what


def test_code_cites_documents_that_exist():
    sources = [path for folder in ("src", "tests", "workflow", "config", "profiles", "benchmarks")
               for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".smk", ".yaml", ".sh")]  # fmt: skip
    for path in [*sources, ROOT / "Snakefile", ROOT / "Makefile"]:
        for cited in CITED.findall(path.read_text()):
            assert (ROOT / cited).exists() or cited in GENERATED, f"{path}: {cited}"


def test_a_release_has_one_date():
    """CITATION.cff has a date only if the changelog has that version with it."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    released = re.findall(r"^## \[([\d.]+)\] - ([\d-]+)$", (ROOT / "CHANGELOG.md").read_text(), flags=re.M)
    date = citation.get("date-released")
    assert date is None or (citation["version"], str(date)) in released
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert citation["version"] == project["version"]
