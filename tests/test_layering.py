"""A wing imports only the wings below it, and no modules import each other in a circle."""

import ast

import pytest

from support.places import ROOT

SOURCE = ROOT / "src" / "headwater"
ORDER = [
    {"core"},
    {"geo"},
    {"stac", "runs", "fetch"},
    {"raster"},
    {"imagery", "terrain", "waterways", "demo"},
    {"models", "evaluate"},
    {"predict", "report"},
    {"train"},
    {"streams", "flood"},
    {"api"},
    {"project"},
    {"cli"},
]
LEVEL = {name: level for level, names in enumerate(ORDER) for name in names}
LOOSE = {"__init__", "__main__", "api"}
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
    if path.parent != SOURCE or path.stem not in LOOSE - {"api"}
}


def wing(module):
    return module.split(".")[0]


def imports(path):
    """All imports of a module, those inside functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
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
def test_a_module_imports_only_wings_below_its_own(module):
    assert wing(module) in LEVEL, f"give {wing(module)} its place in ORDER"
    for name in imports(MODULES[module]):
        if name and wing(name) != wing(module):
            assert LEVEL[wing(name)] < LEVEL[wing(module)], f"{module} imports {name}, which is not below it"


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: set(imports(path)) & set(MODULES) for module, path in MODULES.items()}
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
    for module, path in MODULES.items():
        if wing(module) != "raster":
            assert "rasterio.open(" not in path.read_text(), module
