import geopandas as gpd
import numpy as np
import pytest
import shapely

from headwater.core.errors import InputError
from headwater.geo.grid import elevation_grid, prediction_grid
from headwater.geo.plan import read_plan, write_plan
from headwater.raster import write_cog
from headwater.waterways.backbone.stream_columns import SOURCE_COAST
from headwater.waterways.backbone_step import common_grid
from headwater.waterways.link_ids import region_header
from support.steps import backbone

BASIN = "4020000001"


@pytest.fixture
def place(tmp_path):
    """A plan of two cells with a tilted valley through both."""
    return tmp_path, valley(tmp_path, [shapely.box(11.01, 45.01, 11.19, 45.09)], west=11.0)


def valley(folder, parts, *, west):
    """Write basins.gpkg, plan.json and the elevation of the plan's cells; return the files of the latter."""
    polygon = shapely.multipolygons(parts)
    gpd.GeoDataFrame({"HYBAS_ID": [int(BASIN)]}, geometry=[polygon], crs="EPSG:4326").to_file(folder / "basins.gpkg")
    write_plan([folder / "basins.gpkg"], BASIN, folder / "plan.json", cell_degrees=0.1, margin_px=16)
    elevation = []
    for cell in read_plan(folder / "plan.json").cells:
        grid = elevation_grid(cell, margin_px=16)
        x, y = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
        east, latitude = (grid.west - west) % 360 + (x + 0.5) * grid.dx, grid.north - (y + 0.5) * grid.dy
        east = np.where(east > 180, east - 360, east)
        # Falls to the east and to the middle, with side valleys.
        height = 2000 * abs(latitude - 45.05) - 800 * east + 3 * np.sin(east * 600) + 500
        path = folder / f"{cell.name}.tif"
        write_cog(path, height.astype(np.float32)[np.newaxis], transform=grid.transform)
        elevation.append(path)
    return elevation


def test_from_elevation_a_basin_on_both_sides_of_180_degrees_is_like_any_other(tmp_path):
    found = []
    for west, parts in (
        (11.0, [shapely.box(11.01, 45.01, 11.1, 45.09), shapely.box(11.1, 45.01, 11.19, 45.09)]),
        (179.9, [shapely.box(179.91, 45.01, 180, 45.09), shapely.box(-180, 45.01, -179.91, 45.09)]),
    ):
        folder = tmp_path / str(west)
        folder.mkdir()
        found.append(run(folder, kind="dem", elevation=valley(folder, parts, west=west), min_area_km2=2.0))
    (here, _), (there, catchments) = (
        [table.sort_values("link_id", ignore_index=True) for table in tables] for tables in found
    )
    columns = ["link_id", "downstream_link_id", "strahler_order"]
    assert there[columns].equals(here[columns])
    np.testing.assert_allclose(there["length_m"], here["length_m"], rtol=1e-6)
    assert set(there["cell"]) == {"N45.0E179.9", "N45.0W180.0"}
    # The trunk flows east over 180 degrees: all is drawn next to its outlet, at -179.9.
    of_trunk = (there["source"] != SOURCE_COAST).to_numpy()
    ends = shapely.get_x(shapely.get_point(there.geometry.to_numpy(), -1))
    assert (ends[of_trunk] < -179.9).all()
    # What drains to no reach leaves the basin in the west.
    assert (ends[~of_trunk] > 179.9).all()
    assert not of_trunk.all()
    moved = shapely.transform(here.geometry.to_numpy()[of_trunk], lambda xy: xy - np.array([191.1, 0]))
    assert shapely.hausdorff_distance(moved, there.geometry.to_numpy()[of_trunk]).max() < 1e-6
    assert shapely.distance(catchments.geometry.to_numpy(), there.geometry.to_numpy()).max() < 1e-9


def run(folder, **options):
    backbone(
        folder / "plan.json",
        [folder / "basins.gpkg"],
        folder / "reaches.parquet",
        folder / "catchments.parquet",
        **options,
    )
    return gpd.read_parquet(folder / "reaches.parquet"), gpd.read_parquet(folder / "catchments.parquet")


def test_from_elevation_over_two_cells(place):
    folder, elevation = place
    reaches, catchments = run(folder, kind="dem", elevation=elevation, min_area_km2=2.0)
    first = (folder / "reaches.parquet").read_bytes()
    assert len(reaches) >= 3
    assert set(reaches["cell"]) == {"N45.0E011.0", "N45.0E011.1"}
    # The trunk crosses from one cell into the other without a break.
    trunk = reaches.loc[reaches["upstream_area_km2"].idxmax()]
    assert trunk["cell"] == "N45.0E011.1"
    assert trunk["upstream_area_km2"] > 60
    assert shapely.box(11.01, 45.01, 11.19, 45.09).buffer(0.001).contains(shapely.union_all(catchments.geometry))
    run(folder, kind="dem", elevation=elevation[::-1], min_area_km2=2.0)
    assert (folder / "reaches.parquet").read_bytes() == first


def test_from_tdx(place, capsys):
    folder, _ = place
    line = shapely.LineString([(11.05, 45.05), (11.15, 45.05)])
    streams = gpd.GeoDataFrame(
        {"LINKNO": [5], "DSLINKNO": [-1], "strmOrder": [1], "DSContArea": [4e6]}, geometry=[line], crs="EPSG:4326"
    )
    squares = [shapely.box(11.05, 45.04, 11.1, 45.06), shapely.box(11.1, 45.04, 11.15, 45.06)]
    polygons = gpd.GeoDataFrame({"streamID": [5, 5]}, geometry=squares, crs="EPSG:4326")
    streams.to_file(folder / "s.gpkg")
    polygons.to_file(folder / "c.gpkg")
    reaches, catchments = run(folder, kind="tdx", streams=folder / "s.gpkg", catchments=folder / "c.gpkg")
    assert reaches[["link_id", "cell"]].values.tolist() == [[5, "N45.0E011.1"]]
    assert catchments.geometry[0].area == pytest.approx(0.002)
    assert "1 catchments of several polygons dissolved" in capsys.readouterr().err
    streams.drop(columns="LINKNO").to_file(folder / "bad.gpkg")
    before = (folder / "reaches.parquet").read_bytes()
    with pytest.raises(InputError, match="LINKNO"):
        run(folder, kind="tdx", streams=folder / "bad.gpkg", catchments=folder / "c.gpkg")
    assert (folder / "reaches.parquet").read_bytes() == before
    assert not list(folder.glob(".*part*"))


def test_what_is_not_given_is_reported(place):
    folder, elevation = place
    with pytest.raises(InputError, match="needs streams"):
        run(folder, kind="tdx")
    with pytest.raises(InputError, match="needs polygons"):
        run(folder, kind="dem")
    with pytest.raises(InputError, match="kind must be tdx, dem, auto or none"):
        run(folder, kind="osm", elevation=elevation)


def test_the_common_grid_keeps_pixels_square_and_few():
    grid = common_grid((10, 60, 12, 61), max_px=10**9)
    assert (grid.dx / grid.dy, grid.height) == (2, 3600)
    small = common_grid((10, 60, 12, 61), max_px=100_000)
    assert small.width * small.height <= 100_000
    assert small.bounds == pytest.approx((10, 60, 12, 61), abs=small.dy)


def test_links_far_from_the_cells_stay_and_their_catchments_are_not_read(place, capsys):
    folder, _ = place
    # Link 1 flows from far away through 2, of zero length, to 3; 4 ends a little outside of the cells, 5 far away.
    lines = {1: [(11.5, 45.05), (11.21, 45.05)], 2: None, 3: [(11.21, 45.05), (11.15, 45.05)]}
    lines |= {4: [(11.05, 45.01), (11.05, 44.999)], 5: [(12.0, 45.5), (12.0, 45.4)]}
    shapes = [line and shapely.LineString(line) for line in lines.values()]
    streams = gpd.GeoDataFrame(
        {"LINKNO": list(lines), "DSLINKNO": [2, 3, -1, -1, -1], "strmOrder": 1, "Slope": 0.1}, geometry=shapes, crs=4326
    )
    areas = [shapely.LineString(lines[i]).buffer(0.004) for i in (1, 3, 4, 5)]
    polygons = gpd.GeoDataFrame({"streamID": [1, 3, 4, 5], "name": "text"}, geometry=areas, crs="EPSG:4326")
    streams.to_file(folder / "s.gpkg")
    polygons.to_file(folder / "c.gpkg")
    reaches, catchments = run(folder, kind="tdx", streams=folder / "s.gpkg", catchments=folder / "c.gpkg")
    reaches = reaches.set_index("link_id").sort_index()
    assert reaches["downstream_link_id"].tolist() == [2, 3, -1, -1, -1]
    assert reaches["cell"].tolist() == ["", "", "N45.0E011.1", "N45.0E011.0", ""]
    assert reaches["has_catchment"].tolist() == [True, False, True, True, False]
    assert sorted(catchments["link_id"]) == [1, 3, 4]
    said = capsys.readouterr().err
    assert "1 links that end outside every cell put into the cell their catchment meets" in said
    assert "3 links outside every cell" in said


AREA = "area-0123456789"


def area_in_valley(folder, kind, degrees=0.1, **options):
    """A backbone of a box in the middle of the valley, whose rivers come over its western edge."""
    box = shapely.box(11.06, 45.03, 11.14, 45.07)
    gpd.GeoDataFrame({"HYBAS_ID": [AREA]}, geometry=[box], crs="EPSG:4326").to_file(folder / "basins.gpkg")
    write_plan([folder / "basins.gpkg"], AREA, folder / "plan.json", cell_degrees=degrees, margin_px=16)
    plan = read_plan(folder / "plan.json")
    files = []
    for cell in (*plan.cells, *plan.buffer_cells):
        grid = elevation_grid(cell, margin_px=16)
        x, y = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
        east, latitude = grid.west + (x + 0.5) * grid.dx - 11, grid.north - (y + 0.5) * grid.dy
        height = 2000 * abs(latitude - 45.05) - 800 * east + 3 * np.sin(east * 600) + 500
        path = folder / f"{degrees}{cell.name}.tif"
        write_cog(path, height.astype(np.float32)[np.newaxis], transform=grid.transform)
        files.append(path)
    found = []
    for cell in plan.cells:
        grid = prediction_grid(cell)
        rows = np.arange(grid.height)[:, np.newaxis]
        water = abs(grid.north - (rows + 0.5) * grid.dy - 45.05) < 1.1 * grid.dy
        path = folder / f"p{degrees}{cell.name}.tif"
        values = np.where(np.broadcast_to(water, grid.shape), 240, 3).astype(np.uint8)
        write_cog(path, values[np.newaxis], transform=grid.transform)
        found.append(path)
    made = run(folder, kind=kind, elevation=files, probability=found, min_area_km2=2.0, **options)
    return plan, box, made


@pytest.mark.parametrize("kind", ["dem", "none"])
def test_rivers_that_enter_an_area_have_the_upstream_of_the_land_around_it(tmp_path, kind):
    plan, box, (reaches, catchments) = area_in_valley(tmp_path, kind)
    # Ten kilometers around, of which only the elevation is used.
    assert len(plan.cells) == 2
    assert len(plan.buffer_cells) == 10
    assert box.buffer(1e-9).covers(catchments.union_all())
    head = reaches[reaches["upstream_cut"] & (shapely.distance(reaches.geometry, shapely.Point(11.06, 45.05)) < 0.02)]
    trunk = head.loc[head["upstream_area_km2"].idxmax()]
    # The valley reaches 0.126 degrees farther west, as far as the elevation that is used.
    assert trunk["upstream_area_km2"] > 100
    assert trunk["upstream_outside"] == (kind == "dem")
    assert (reaches["cell"] != "").all()
    if kind == "none":
        again, _, (smaller, _) = area_in_valley(tmp_path, kind, degrees=0.05)
        assert again.cells != plan.cells
        assert (
            smaller.drop(columns="cell")
            .sort_values("link_id", ignore_index=True)
            .equals(reaches.drop(columns="cell").sort_values("link_id", ignore_index=True))
        )
        assert (reaches["source"] == "found").any()
        with pytest.raises(InputError, match="needs probability"):
            run(tmp_path, kind="none", elevation=[tmp_path / "x.tif"])


def test_an_area_reads_its_part_of_a_region_and_needs_its_polygon(place):
    folder, _ = place
    area_in_valley(folder, "dem")
    lines = {1: [(11.02, 45.05), (11.07, 45.05)], 2: [(11.07, 45.05), (11.13, 45.05)], 3: [(11.5, 45), (11.6, 45)]}
    shapes = [shapely.LineString(line) for line in lines.values()]
    streams = gpd.GeoDataFrame(
        {"LINKNO": [1, 2, 3], "DSLINKNO": [2, -1, -1], "strmOrder": [3, 3, 1]}, geometry=shapes, crs=4326
    )
    areas = [shapely.box(11.0, 45, 11.05, 45.1), shapely.box(11.05, 45, 11.2, 45.1), shapely.box(11.5, 45, 11.6, 45.1)]
    streams.to_file(folder / "s.gpkg")
    gpd.GeoDataFrame({"streamID": [1, 2, 3]}, geometry=areas, crs=4326).to_file(folder / "c.gpkg")
    files = {"streams": folder / "s.gpkg", "catchments": [folder / "c.gpkg"]}
    reaches, catchments = run(folder, kind="tdx", regions=("7020038340",), **files)
    header = region_header("7020038340") * 10_000_000
    assert reaches[["link_id", "upstream_cut", "upstream_outside"]].values.tolist() == [[header + 2, True, True]]
    assert catchments.geometry[0].equals(shapely.box(11.06, 45.03, 11.14, 45.07))
    with pytest.raises(InputError, match="needs its polygon"):
        backbone(
            folder / "plan.json", [], folder / "r.parquet", folder / "k.parquet", kind="tdx", regions=("a",), **files
        )
    assert not (folder / "r.parquet").exists()
