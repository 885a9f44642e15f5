"""Labels spread by the law of water; scores equal those counted by hand."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from headwater.cli import main
from headwater.core.errors import InputError
from headwater.flood.labels import score_labels, spread_labels


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 6))
def test_what_labels_imply_is_labeled_and_nothing_else(seed, count):
    rng = np.random.default_rng(seed)
    elevation = np.round(rng.normal(size=(8, 9)) * 3)
    elevation[rng.random((8, 9)) < 0.1] = np.nan
    labels = np.full((8, 9), -1)
    labels.ravel()[rng.integers(0, 72, count)] = rng.integers(0, 2, count)
    made, conflicts = spread_labels(labels, elevation)
    reached = {}
    for value, sign in ((1, 1), (0, -1)):
        heights = elevation * sign
        wet = (labels == value) & np.isfinite(heights)
        while True:
            more = wet.copy()
            for y, x in np.argwhere(wet):
                near = np.s_[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
                more[near] |= heights[near] <= heights[y, x]
            if (more == wet).all():
                break
            wet = more
        reached[value] = wet
    expected = np.where(reached[1] & ~reached[0], 1, np.where(reached[0] & ~reached[1], 0, -1))
    expected = np.where(labels >= 0, labels, expected)
    assert (made == expected).all()
    assert conflicts == (reached[0] & reached[1] & (labels < 0)).sum()
    # What is spread spreads no further.
    if not conflicts:
        again, _ = spread_labels(made, elevation)
        assert (again[made >= 0] == made[made >= 0]).all()


def test_scores_are_those_counted_by_hand():
    truth = np.array([1, 1, 1, 0, 0, -1, -1, 0])
    found = np.array([1, 1, 0, 0, 1, 1, 0, -1])
    table = score_labels(found, truth)
    assert table.loc["flood", ["precision", "recall", "f1"]].tolist() == pytest.approx([200 / 3, 200 / 3, 200 / 3])
    assert table.loc["dry", ["precision", "recall", "f1"]].tolist() == pytest.approx([50, 100 / 3, 40])
    assert table["accuracy"].tolist() == pytest.approx([50, 50])
    only_dry = score_labels(np.zeros(4, int), np.zeros(4, int))
    assert only_dry.loc["dry", "f1"] == 100
    assert np.isnan(only_dry.loc["flood", ["precision", "recall", "f1"]].to_numpy(float)).all()
    with pytest.raises(InputError, match="No pixel is labeled"):
        score_labels(np.zeros(3, int), np.full(3, -1))
    with pytest.raises(InputError, match="do not fit"):
        score_labels(np.zeros(3, int), np.zeros(4, int))
    with pytest.raises(InputError, match="do not fit"):
        spread_labels(np.zeros((2, 2), int), np.zeros((2, 3)))


def test_the_commands(tmp_path, capsys):
    def write(name, data, x=500_000):
        transform = from_origin(x, 5_600_000, 2, 2)
        profile = {"driver": "GTiff", "width": 9, "height": 1, "count": 1, "crs": "EPSG:32631", "transform": transform}
        with rasterio.open(tmp_path / name, "w", dtype=data.dtype.name, **profile) as dataset:
            dataset.write(data[np.newaxis, np.newaxis])
        return str(tmp_path / name)

    elevation = write("e.tif", np.arange(9, dtype=np.float32))
    labels = write("l.tif", np.array([255, 255, 255, 1, 255, 0, 255, 255, 255], np.uint8))
    out = str(tmp_path / "o.tif")
    assert main(["flood", "spread", "--labels", labels, "--elevation", elevation, "--out", out]) == 0
    with rasterio.open(out) as made:
        assert made.read(1).tolist() == [[1, 1, 1, 1, 255, 0, 0, 0, 0]]
    assert "2 labels became 8" in capsys.readouterr().err
    assert main(["flood", "score", "--map", out, "--labels", labels, "--out", str(tmp_path / "s.csv")]) == 0
    said = capsys.readouterr().out
    assert "| o | flood | 100.00 | 100.00 | 100.00 | 100.00 |" in said
    assert (tmp_path / "s.csv").read_text().splitlines()[0] == "region,class,accuracy,precision,recall,f1"
    nothing = write("n.tif", np.full(9, 255, np.uint8))
    elsewhere = write("x.tif", np.arange(9, dtype=np.float32), x=400_000)
    for words, message in (
        (["spread", "--labels", nothing, "--elevation", elevation], "labels no pixel"),
        (["spread", "--labels", labels, "--elevation", elsewhere], "is not on the grid"),
        (["score", "--map", out, out, "--labels", labels], "2 maps and 1 labels"),
    ):
        assert main(["flood", *words, "--out", str(tmp_path / "none")]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "none").exists()
