"""Flood maps from files: on the input's own grid, better than what they repair, and refused where inputs do not fit."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin
from scipy import ndimage

from headwater.cli import main
from headwater.core.errors import InputError
from headwater.flood.settings import HmtSettings, PostprocessSettings
from headwater.flood.steps import hmt, postprocess

PLACES = {
    "utm": ("EPSG:32631", from_origin(500_000, 5_600_000, 2, 2)),
    "degrees": ("EPSG:4326", from_origin(5.2, 50.7, 0.0001, 0.0001)),
}


def write(path, data, place="utm", nodata=None, **changes):
    data = np.asarray(data)
    data = data[np.newaxis] if data.ndim == 2 else data
    crs, transform = PLACES[place]
    profile = {"crs": crs, "transform": transform, "nodata": nodata, "dtype": data.dtype.name} | changes
    with rasterio.open(
        path, "w", driver="GTiff", width=data.shape[2], height=data.shape[1], count=len(data), **profile
    ) as dataset:
        dataset.write(data)
    return path


@pytest.fixture(scope="module")
def flood():
    """A valley filled to a level, seen by a classifier whose map is noisy and has holes under trees."""
    rng = np.random.default_rng(5)
    size = 120
    relief = sum(ndimage.gaussian_filter(rng.normal(size=(size, size)), s) * s for s in (3, 8, 20))
    elevation = (30 + 8 * relief / relief.std()).astype(np.float32)
    truth = elevation < np.quantile(elevation, 0.35)
    trees = ndimage.gaussian_filter(rng.normal(size=truth.shape), 4) > 0.09
    seen = np.where(truth & ~trees, 1.0, -1.0) + rng.normal(size=truth.shape) * 0.9
    probability = (1 / (1 + np.exp(-2 * seen))).astype(np.float32)
    return elevation, truth, probability, rng


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("tree", ["hmct", "hmt"])
def test_the_terrain_repairs_a_classifier_s_map(tmp_path, flood, place, tree):
    elevation, truth, probability, _ = flood
    inputs = [write(tmp_path / "p.tif", probability, place), write(tmp_path / "e.tif", elevation, place)]
    settings = PostprocessSettings(tree=tree, clip=0.05)
    postprocess(*inputs, tmp_path / "out.tif", settings=settings, probability_out=tmp_path / "q.tif")
    with rasterio.open(tmp_path / "out.tif") as made, rasterio.open(inputs[0]) as given:
        labels = made.read(1)
        assert made.crs == given.crs
        assert made.transform == given.transform
        assert made.tags()["method"] == tree
    before, after = ((found == truth).mean() for found in (probability > 0.5, labels == 1))
    assert after > before + 0.02
    with rasterio.open(tmp_path / "q.tif") as made:
        flooded = made.read(1) / 255
        assert made.scales == (1 / 255,)
    # No flooded pixel has a dry one that its water must come through: with one lowest point, none below it.
    assert np.corrcoef(flooded.ravel(), labels.ravel())[0, 1] > 0.9
    # The same input gives the same bytes.
    first = (tmp_path / "out.tif").read_bytes()
    postprocess(*inputs, tmp_path / "out.tif", settings=settings)
    assert (tmp_path / "out.tif").read_bytes() == first


def test_few_labels_map_a_flood(tmp_path, flood):
    elevation, truth, _, rng = flood
    bands = np.stack(
        [
            np.where(truth, low, high) + rng.normal(size=truth.shape) * 25
            for low, high in ((60, 110), (90, 80), (70, 120))
        ]
    )
    image = np.clip(bands, 0, 255).astype(np.uint8)
    labels = np.full(truth.shape, 255, np.uint8)
    for value in (0, 1):
        rows, columns = np.nonzero(truth == value)
        chosen = rng.choice(len(rows), 40, replace=False)
        labels[rows[chosen], columns[chosen]] = value
    paths = [write(tmp_path / f"{n}.tif", d) for n, d in (("i", image), ("e", elevation), ("l", labels))]
    hmt(*paths, tmp_path / "out.tif", settings=HmtSettings(tree="hmct"))
    with rasterio.open(tmp_path / "out.tif") as made:
        assert (made.read(1) == truth).mean() > 0.95
    # Whole meters, joined to one node where they are equal.
    whole = write(tmp_path / "w.tif", np.round(elevation))
    hmt(paths[0], whole, paths[2], tmp_path / "whole.tif", settings=HmtSettings(collapse=True))
    with rasterio.open(tmp_path / "whole.tif") as made:
        assert (made.read(1) == truth).mean() > 0.9


def test_pixels_without_elevation_or_probability_follow_the_other(tmp_path, flood):
    elevation, _, probability, _ = (part.copy() if hasattr(part, "copy") else part for part in flood)
    elevation[:10], probability[-10:] = -9999, np.nan
    postprocess(
        write(tmp_path / "p.tif", probability, nodata=np.nan),
        write(tmp_path / "e.tif", elevation, nodata=-9999),
        tmp_path / "out.tif",
    )
    with rasterio.open(tmp_path / "out.tif") as made:
        labels = made.read(1)
    assert (labels[:10] == (probability[:10] >= 0.5)).all()
    assert set(np.unique(labels[-10:])) <= {0, 1}


def test_the_command_and_what_it_refuses(tmp_path, flood, capsys):
    elevation, truth, probability, _ = flood
    good = {
        "probability": write(tmp_path / "p.tif", probability),
        "elevation": write(tmp_path / "e.tif", elevation),
    }

    def call(**changes):
        out = tmp_path / "out.tif"
        out.unlink(missing_ok=True)
        words = [word for name, path in (good | changes).items() for word in (f"--{name}", str(path))]
        code = main(["flood", "postprocess", *words, "--out", str(out)])
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert out.exists() == (code == 0)
        return code, said

    assert call()[0] == 0
    feet = write(tmp_path / "feet.tif", elevation)
    with rasterio.open(feet, "r+") as dataset:
        dataset.units = ("ft",)
    assert call(elevation=feet)[0] == 0
    for changes, message in (
        ({"elevation": write(tmp_path / "a.tif", elevation[:-1])}, "is not on the grid"),
        ({"elevation": write(tmp_path / "b.tif", elevation, "degrees")}, "is not on the grid"),
        ({"elevation": write(tmp_path / "c.tif", elevation, crs="EPSG:32632")}, "is not on the grid"),
        ({"elevation": write(tmp_path / "d.tif", np.where(truth, -32768, elevation).astype(np.float32))}, "-32768"),
        ({"elevation": write(tmp_path / "f.tif", np.full_like(elevation, np.nan), nodata=np.nan)}, "No pixel has"),
        ({"probability": write(tmp_path / "g.tif", probability * 100)}, "not between 0 and 1"),
        ({"probability": write(tmp_path / "h.tif", np.stack([probability] * 2))}, "has 2 bands"),
        ({"probability": tmp_path / "none.tif"}, "does not exist"),
        ({"epsilon": 0}, "epsilon"),
        ({"clip": 0.7}, "clip"),
        ({"elevation": write(tmp_path / "flat.tif", np.full_like(elevation, 5)), "collapse": ""}, "one level"),
    ):
        if "collapse" in changes:
            with pytest.raises(InputError, match=message):
                postprocess(
                    good["probability"], changes["elevation"], tmp_path / "x.tif",
                    settings=PostprocessSettings(collapse=True),
                )  # fmt: skip
            continue
        code, said = call(**changes)
        assert (code, message in said) == (2, True), said
    one = write(tmp_path / "l.tif", np.where(truth, 1, 255).astype(np.uint8))
    with pytest.raises(InputError, match="labeled dry"):
        hmt(good["probability"], good["elevation"], one, tmp_path / "x.tif")
    assert not (tmp_path / "x.tif").exists()
