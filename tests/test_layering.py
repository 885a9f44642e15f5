"""Imports follow the order in which data flow (design.md), and no modules import each other in a circle."""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "headwater"
ORDER = [
    {"errors", "versions", "data"},
    {"events"},
    {"files", "progress", "cluster"},
    {"results"},
    {"config", "grid", "standin"},
    {"scale"},
    {"monitor"},
    {"bands"},
    {"basins", "nhd", "shapes"},
    {"labels"},
    {"catalog"},
    {"raster"},
    {"relief"},
    {"quantities"},
    {"composite", "masks", "terrain", "channels"},
    {"models"},
    {"predict"},
    {"vector"},
    {"evaluate"},
    {"demo"},
    {"report"},
    {"steps"},
    {"train"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
    if path.name != "__init__.py" or path.parent != SOURCE
}


def imports(path, *, top_only=False):
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "headwater":
            inner = node.module.removeprefix("headwater").removeprefix(".")
            for alias in node.names:
                longer = f"{inner}.{alias.name}".strip(".")
                yield longer if longer in MODULES else inner
        elif isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("headwater.") for alias in node.names if alias.name.startswith("headwater.")
            )


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_stands_before_it(module):
    own = module.split(".")[0]
    assert own in LEVEL, f"give {own} its place in ORDER"
    for name in imports(MODULES[module]):
        other = name.split(".")[0]
        if other and other != own:
            assert LEVEL[other] < LEVEL[own], f"{module} imports {name}, which does not stand before it"


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: set(imports(path, top_only=True)) & set(MODULES) for module, path in MODULES.items()}
    state = {}

    def visit(module, trail):
        state[module] = "open"
        for other in sorted(graph[module] - {module}):
            assert state.get(other) != "open", " -> ".join([*trail, module, other])
            if other not in state:
                visit(other, [*trail, module])
        state[module] = "done"

    for module in sorted(graph):
        if module not in state:
            visit(module, [])


def test_only_raster_opens_rasters():
    readers = {"raster"}
    for module, path in MODULES.items():
        if module.split(".")[0] in readers:
            continue
        assert "rasterio.open(" not in path.read_text(), module
