"""The front half with the software behind the Planetary Computer's API: pgstac on PostgreSQL and PostGIS.

The database contains the demo planet's items and real ones. Its replies are compared with those of the demo's catalog
and with the same items in a folder: three implementations of one search.
"""

import json
import shutil

import pytest
import requests
from shapely import affinity
from shapely.geometry import box, mapping, shape

from headwater.core.files import write_json
from headwater.demo.server.serve import running_catalog
from headwater.stac.intervals import parse_interval
from headwater.stac.pinned_items import pinned_item
from headwater.stac.pins import read_items, read_query
from headwater.stac.providers import find_items, make_provider
from headwater.stac.query import Query
from support import pgstac
from support.front_half import FrontHalf, write_planet_plan
from support.tiny_catalog import CELLS, write_tiny_catalog, write_tiny_plan

pytestmark = pytest.mark.postgres
S2, DEM, DEM_90 = "sentinel-2-l2a", "cop-dem-glo-30", "cop-dem-glo-90"
REAL = ("pc_items_35MNM_13dates.geojson", "pc_items_9tiles_2020-06-06.geojson")
AROUND_THE_PLANET = (80.0, 0.0, 95.0, 15.0)
AT_180 = "pc_search_sentinel-2-l2a_2019-01-01.json"


@pytest.fixture(scope="module")
def database():
    with pgstac.running_database() as database:
        yield database


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("pgstac") / "api.log"


@pytest.fixture(scope="module")
def api(database, log):
    with pgstac.running_api(database, log) as url:
        yield url


@pytest.fixture(scope="module")
def served(planet):
    with running_catalog([planet]) as url:
        yield url


@pytest.fixture(scope="module")
def collections(database, served, shared_data):
    """Load the collections, once and first: pgstac stores only what an item adds to its collection."""
    reply = requests.get(f"{served}/stac/collections").json()
    documents = {document["id"]: document for document in reply["collections"]}
    documents[DEM_90] = documents[DEM] | {"id": DEM_90}
    for name in (S2, DEM):
        real = shared_data / f"stac/pc_collection_{name}.json"
        if real.is_file():
            documents[name] = json.loads(real.read_bytes())
    database.load("collections", documents.values())


@pytest.fixture(scope="module")
def planet_items(database, collections, served):
    """Load the planet's items; their addresses are those of the demo's server."""
    reply = requests.post(f"{served}/stac/search", json={"limit": 1000}).json()
    database.load("items", reply["features"])
    return reply["features"]


@pytest.fixture(scope="module")
def real_items(database, collections, shared_data):
    """Load the real items, and copies moved to the other side of the antimeridian."""
    items = {}
    for name in (*REAL, AT_180):
        for item in json.loads((shared_data / "stac" / name).read_bytes())["features"]:
            items[item["id"]] = item
    for item in json.loads((shared_data / "stac" / AT_180).read_bytes())["features"][:5]:
        west, _, east, _ = item["bbox"]
        items |= moved(item, 180.5 - east, "across") | moved(item, -179.5 - west, "beyond")
    database.load("items", items.values())
    return list(items.values())


def moved(item, degrees, word):
    """Return a copy moved eastward, by its id; a copy that crosses 180 is cut there, as RFC 7946 requires."""
    geometry = affinity.translate(shape(item["geometry"]), degrees)
    parts = geometry & box(-180, -90, 180, 90), affinity.translate(geometry & box(180, -90, 540, 90), -360)
    (west, south, east, north) = geometry.bounds
    bounds = (west, south, east - 360 if east > 180 else east, north)
    copy = item | {"id": f"{item['id']}_{word}", "geometry": mapping(parts[0] | parts[1]), "bbox": bounds}
    return {copy["id"]: copy}


@pytest.fixture(scope="module")
def folder_of_real_items(real_items, tmp_path_factory):
    folder = tmp_path_factory.mktemp("folder")
    for item in real_items:
        write_json(folder / "stac" / S2 / f"{item['id']}.json", item)
    return folder


def assert_same_front_half(ours, theirs):
    """Every product is the same, byte for byte; only the pin records the catalog it came from."""
    ours.all()
    theirs.all()
    pins = [run.folder / "items.parquet" for run in (ours, theirs)]
    assert read_items(pins[0]) == read_items(pins[1])
    assert read_query(pins[0])["query"] == read_query(pins[1])["query"]
    products = [run.products() for run in (ours, theirs)]
    assert products[0].pop("items.parquet") != products[1].pop("items.parquet")
    assert products[0] == products[1]
    assert len(products[0]) == 4 * len(ours.cells)


def test_the_front_half_of_the_planet_equals_that_from_its_own_catalog(tmp_path, planet, served, api, planet_items):
    write_planet_plan(planet, tmp_path / "plan.json")
    runs = [
        FrontHalf(tmp_path / name, tmp_path / "plan.json", url, f"{served}/api/sas/v1/token")
        for name, url in (("database", api), ("demo", f"{served}/stac"))
    ]
    assert_same_front_half(*runs)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"sig=" not in path.read_bytes(), path


@pytest.mark.real
def test_the_front_half_of_real_scenes_equals_that_from_the_demo_s_server(
    tmp_path, database, api, collections, shared_data
):
    place = tmp_path / "33T"
    write_tiny_catalog(place, scenes=[])  # for its elevation
    for path in sorted((shared_data / "s2-multidate-33T").glob("*/*.json")):
        item = json.loads(path.read_bytes())
        assets = {key: asset for key, asset in item["assets"].items() if (path.parent / asset["href"]).is_file()}
        assert len(assets) == 5
        for asset in assets.values():
            target = place / "assets" / S2 / item["id"] / asset["href"]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path.parent / asset["href"], target)
            asset["href"] = str(target.relative_to(place))
        write_json(place / "stac" / S2 / path.name, item | {"assets": assets})
    write_tiny_plan(tmp_path / "plan.json")
    with running_catalog([place], require_token=False) as url:
        database.load("items", requests.post(f"{url}/stac/search", json={"limit": 1000}).json()["features"])
        options = ("--datetime", "2023-08-01/2023-08-31", "--years-back", "0")
        cells = (CELLS[0], CELLS[2])  # one on each side of the seam of the two MGRS tiles
        runs = [
            FrontHalf(tmp_path / name, tmp_path / "plan.json", address, search_options=options, cells=cells)
            for name, address in (("database", api), ("demo", f"{url}/stac"))
        ]
        assert_same_front_half(*runs)
    pinned = read_items(runs[0].folder / "items.parquet")
    assert len([item for item in pinned if item["collection"] == S2]) == 10


@pytest.mark.parametrize("page_limit", [1, 3, 1000])
def test_every_page_size_finds_the_same_items(tmp_path, planet, api, log, planet_items, page_limit):
    before = log.read_text().count("POST /search")
    found = find_items(make_provider(api, page_limit=page_limit), Query(S2, AROUND_THE_PLANET))
    wanted = sorted((item for item in planet_items if item["collection"] == S2), key=lambda item: item["id"])
    assert [pinned_item(item) for item in found] == [pinned_item(item) for item in wanted]
    # The pages were really fetched.
    assert log.read_text().count("POST /search") - before >= len(wanted) / page_limit


def test_cloudy_scenes_are_left_out_by_the_database(api, planet_items):
    """The limit is sent with the filter extension, and the database itself applies it."""
    conformance = requests.get(f"{api}/conformance").json()["conformsTo"]
    assert any("item-search#filter" in word for word in conformance)
    clouds = {item["id"]: item["properties"].get("eo:cloud_cover") for item in planet_items if item["collection"] == S2}
    limit = sorted(clouds.values())[len(clouds) // 2]
    wanted = sorted(name for name, cloud in clouds.items() if cloud <= limit)
    assert 0 < len(wanted) < len(clouds)
    pages = list(make_provider(api).pages(Query(S2, AROUND_THE_PLANET, below={"eo:cloud_cover": limit})))
    assert sorted(item["id"] for page in pages for item in page.items) == wanted
    # Nothing arrived that had to be left out here.
    assert not any(page.left_out for page in pages)


@pytest.mark.real
@pytest.mark.parametrize("page_limit", [4, 1000])
@pytest.mark.parametrize(
    ("bounds", "period", "least"),
    [
        ((27.0, -8.0, 27.1, -7.9), "2020-06-01/2020-07-31", 13),
        ((27.0, -8.0, 27.1, -7.9), "2020-06-11/2020-06-30", 4),
        ((26.0, -20.0, 28.0, -1.0), "2020-06-06/2020-06-06", 9),
        ((-180.0, -90.0, 180.0, 90.0), "2020-06-06/2020-06-06", 9),
        ((170.0, 50.0, 176.0, 75.0), "2019-01-01/2019-01-01", 5),
        # Across the antimeridian, and a strip on one side only.
        ((175.0, 50.0, -175.0, 75.0), "2019-01-01/2019-01-01", 10),
        ((179.9, 50.0, -179.9, 75.0), "2019-01-01/2019-01-01", 4),
        ((-180.0, 50.0, -179.9, 75.0), "2019-01-01/2019-01-01", 4),
        ((0.0, 0.0, 1.0, 1.0), "2019-01-01/2020-12-31", 0),
    ],
)
def test_the_database_and_a_folder_of_the_same_real_items_agree(
    api, folder_of_real_items, bounds, period, least, page_limit
):
    query = Query(S2, bounds, parse_interval(period))
    ours, theirs = (
        find_items(make_provider(url, page_limit=page_limit), query) for url in (api, str(folder_of_real_items))
    )
    assert [item["id"] for item in ours] == [item["id"] for item in theirs]
    assert len(ours) >= least
    assert (least == 0) == (not ours)
    assert [pinned_item(item) for item in ours] == [pinned_item(item) for item in theirs]


@pytest.mark.real
def test_the_database_inverts_a_box_across_the_antimeridian(api, real_items):
    """Why the query is split at 180: for one undivided box, the database silently answers from the wrong side."""
    body = {"collections": [S2], "limit": 1000, "bbox": [175, -90, -175, 90]}
    answered = {item["id"] for item in requests.post(f"{api}/search", json=body).json()["features"]}
    assert any("_T35M" in name for name in answered)
    found = find_items(make_provider(api), Query(S2, (175.0, -90.0, -175.0, 90.0)))
    assert found
    assert not any("_T35M" in item["id"] for item in found)


@pytest.mark.real
def test_a_refresh_after_changes_in_the_database_reports_them(tmp_path, database, api, collections, shared_data):
    """An old scene added late, one reprocessed, one withdrawn; then nothing new."""
    scenes = []
    for item in json.loads((shared_data / "stac" / REAL[0]).read_bytes())["features"]:
        # Its own place and year: other tests count items elsewhere.
        (copy,) = moved(item, 60, "elsewhere").values()
        when = {"datetime": "2021" + item["properties"]["datetime"][4:], "updated": "2022-01-01T00:00:00Z"}
        scenes.append(copy | {"properties": item["properties"] | when})
    scenes.sort(key=lambda item: item["properties"]["datetime"])
    late, changed, gone, *others = scenes
    height = {"data": {"href": "https://example.org/dem.tif"}}
    dem = changed | {"id": "Copernicus_DSM_COG_10_S08_00_E087_00_DEM", "collection": DEM, "assets": height}
    database.load("items", [changed, gone, *others, dem])
    write_tiny_plan(tmp_path / "plan.json", names=["S07.50E087.50"])
    options = ("--datetime", "2021-06-01/2021-07-31", "--years-back", "0", "--max-cloud-cover", "100")
    run = FrontHalf(tmp_path / "run", tmp_path / "plan.json", api, search_options=options)
    run.done("search")

    def pinned():
        return {item["id"]: item for item in read_items(run.folder / "items.parquet")}

    assert set(pinned()) == {item["id"] for item in (changed, gone, *others, dem)}
    new = {"updated": "2023-01-01T00:00:00Z", "eo:cloud_cover": 12.5}
    database.load("items", [late, changed | {"properties": changed["properties"] | new}])
    database.delete_item(S2, gone["id"])
    code, text = run.run("search")
    assert code == 0, text
    assert "1 added, 1 updated, 1 withdrawn" in text
    assert all(item["id"] in text for item in (late, changed, gone))
    assert not any(item["id"] in text for item in others)
    assert set(pinned()) == {item["id"] for item in (late, changed, *others, dem)}
    assert pinned()[changed["id"]]["properties"]["eo:cloud_cover"] == 12.5
    before = run.products()
    code, text = run.run("search")
    assert code == 0, text
    assert "nothing changed" in text
    assert run.products() == before
