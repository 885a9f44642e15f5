"""The package of docs/how-to/extending.md, installed outside the tree: each of its plugins is used by its name."""

import re
import subprocess
import sys
import tomllib

import pytest

from support.places import ROOT

PAGE = (ROOT / "docs/how-to/extending.md").read_text()
BLOCKS = dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", PAGE, flags=re.S))


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder like site-packages with the package of the page and its entry points, and with a broken one."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "my_headwater").mkdir()
    (folder / "my_headwater/__init__.py").touch()
    for name, text in BLOCKS.items():
        if name.endswith(".py"):
            (folder / name).write_text(text)
    project = tomllib.loads(BLOCKS["pyproject.toml"])["project"]
    points = project["entry-points"]
    for group in points:
        points[group]["broken"] = "my_headwater.missing:nothing"
    info = folder / "my_headwater-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-headwater\nVersion: 1.0\n")
    lines = [
        line for group, names in points.items() for line in (f"[{group}]", *(f"{n} = {a}" for n, a in names.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def use(site, code):
    program = f"import sys; sys.path[:0] = [{str(site)!r}, {str(ROOT / 'tests')!r}]\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_a_file_for_each_entry_point():
    points = tomllib.loads(BLOCKS["pyproject.toml"])["project"]["entry-points"]
    modules = {
        address.partition(":")[0].replace(".", "/") + ".py" for names in points.values() for address in names.values()
    }
    assert modules == {name for name in BLOCKS if name.endswith(".py")}


def test_a_network_and_a_recipe_make_a_checkpoint_that_predicts(site, tmp_path):
    use(
        site,
        f"""
import numpy as np
from pathlib import Path
from headwater.models.channels import RECIPES
from headwater.models.checkpoint import load_checkpoint, save_checkpoint
from headwater.models.registry import build_network
from headwater.predict.pipeline import predict_probability
recipe = RECIPES.load("infrared")
path = Path({str(tmp_path / "w.safetensors")!r})
save_checkpoint(path, build_network("one_layer", {{"in_channels": 2}}), recipe=recipe, license="x")
loaded = load_checkpoint(path)
composite = np.full((4, 64, 64), 100, np.uint8)
found, valid = predict_probability(
    loaded.predictor, loaded.metadata.recipe, composite, np.zeros((64, 64), np.float32), tile_px=64, overlap_px=0
)
assert found.shape == (32, 32) and valid.all()
""",
    )


def test_a_scene_reader_and_a_cloud_mask_make_a_composite(site, tmp_path):
    use(
        site,
        f"""
from pathlib import Path
from headwater import raster
from support.local_place import CELL, write_plan, write_scene, write_scenes
from support.steps import composite
folder = Path({str(tmp_path)!r})
scenes = write_scenes(folder, [write_scene(folder, "S")])
composite(scenes, write_plan(folder), CELL.name, folder / "c.tif", reader="flat", mask="bright", dilate_px=0)
assert (raster.read_raster(folder / "c.tif")[0][4] == 1).all()
""",
    )


def test_a_provider_is_found_by_its_address(site):
    use(
        site,
        """
from my_headwater.provider import MemoryCatalog
from headwater.stac.providers import make_provider
from headwater.stac.settings import CatalogSettings
provider = make_provider(CatalogSettings(url="memory:mine").url)
assert isinstance(provider, MemoryCatalog) and provider.name == "mine"
""",
    )


def test_a_preset_fills_in_a_catalog(site):
    use(
        site,
        """
from headwater.stac.items import asset_href
from headwater.stac.settings import CatalogSettings
catalog = CatalogSettings(preset="mine", fallback="earth-search")
assert (catalog.url, catalog.hosts) == ("https://stac.example.org/v1", ("files.example.org",))
assert CatalogSettings(url="https://a.org", fallback="mine").next_catalog.dem_collections == ("glo-30",)
assert asset_href({"assets": {"infrared": {"href": "x"}}}, "B08") == "x"
""",
    )


def test_a_signing_scheme_signs(site):
    use(
        site,
        """
from headwater.stac.items import Asset
from headwater.stac.settings import SigningSettings
from headwater.stac.signing import make_signer
chosen = SigningSettings(signing="query", token_url="k")
asset = Asset(href="https://example.org/a.tif", collection="c")
assert make_signer(chosen.signing, chosen.token_url)(asset) == "https://example.org/a.tif?key=k"
""",
    )


def test_an_output_format_is_written_and_read_back(site, tmp_path):
    use(
        site,
        f"""
from pathlib import Path
import geopandas as gpd
from shapely import LineString
from headwater.waterways.network.formats import write_format
from headwater.waterways.settings import NetworkSettings
(name,) = NetworkSettings(formats=("geojson",)).formats
columns = {{"stream_id": [7], "strahler_order": [1]}}
network = gpd.GeoDataFrame(columns, geometry=[LineString([(0, 0), (1, 1)])], crs=4326)
write_format(network, Path({str(tmp_path / "w.parquet")!r}), name)
assert gpd.read_file({str(tmp_path / "w.geojson")!r})["stream_id"].tolist() == [7]
""",
    )


@pytest.mark.parametrize(
    ("registry", "use_of_another"),
    [
        ("headwater.models.registry:NETWORKS", "unet"),
        ("headwater.models.channels:RECIPES", "paper"),
        ("headwater.raster.scenes:READERS", "rasterio"),
        ("headwater.stac.providers:PROVIDERS", "api"),
        ("headwater.stac.presets:PRESETS", "earth-search"),
        ("headwater.stac.signing:SIGNERS", "none"),
        ("headwater.imagery.masks:MASKS", "scl"),
        ("headwater.waterways.network.formats:OUTPUT_FORMATS", "gpkg"),
    ],
)
def test_a_broken_plugin_names_itself_and_leaves_the_others_usable(site, registry, use_of_another):
    module, _, name = registry.partition(":")
    use(
        site,
        f"""
from headwater.core.errors import InputError
from {module} import {name} as registry
assert "broken" in registry.names()
try:
    registry.load("broken")
except InputError as error:
    assert "'broken' (my_headwater.missing:nothing) cannot be imported: ModuleNotFoundError" in error.cause
else:
    raise SystemExit("it loaded")
assert registry.load({use_of_another!r}) is not None
""",
    )


def test_a_configuration_names_plugins(site):
    use(
        site,
        f"""
import yaml
from headwater.core.errors import InputError
from headwater.project.config import check_config
config = yaml.safe_load(open({str(ROOT / "config/config.yaml")!r}))
config["composite"] = {{"reader": "flat", "mask": "bright"}}
config["network"] = {{"formats": ["geojson"]}}
assert check_config(config).composite.reader == "flat"
config["composite"]["reader"] = "missing"
try:
    check_config(config)
except InputError as error:
    assert "composite.reader must be rasterio, odc or stackstac (or a plugin's name) (got 'missing')" in error.cause
else:
    raise SystemExit("it passed")
""",
    )
