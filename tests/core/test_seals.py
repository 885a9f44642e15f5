import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.files import read_json, write_json
from headwater.core.seals import SEAL_BYTES, DamagedFile, check_seal, is_result, seal_parquet, sealed_xml
from headwater.raster.mosaic import mosaic_vrt
from headwater.raster.writing import write_cog

PX = 700


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Bytes of a sealed GeoTIFF, Parquet file and JSON file, by suffix, and the folder of the files."""
    folder = tmp_path_factory.mktemp("sealed")
    pixels = np.random.default_rng(0).integers(0, 200, (2, PX, PX), np.uint8)
    transform = Affine(1e-4, 0, 10, 0, -1e-4, 50)
    write_cog(folder / "file.tif", pixels, transform=transform, mask=pixels[0] > 3, tags={"scenes": "A B"})
    table = pa.table({"id": np.arange(5000), "name": [f"reach {k}" for k in range(5000)]})
    pq.write_table(table, folder / "file.parquet", compression="zstd", row_group_size=1000, write_page_checksum=True)
    seal_parquet(folder / "file.parquet")
    write_json(
        folder / "file.json",
        {"cell": "N1", "scenes": [{"id": f"S{k}", "mean": [0.25, 1e-3]} for k in range(9)]},
        sealed=True,
    )
    (folder / "file.vrt").write_bytes(sealed_xml(mosaic_vrt([folder / "file.tif"]).encode()))
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


def read(path):
    """Read a file as steps do: a comparable value."""
    if path.suffix == ".json":
        return read_json(path)
    check_seal(path)
    if path.suffix == ".parquet":
        return pq.read_table(path, page_checksum_verification=True).to_pydict()
    with rasterio.open(path) as dataset:
        return dataset.read().tobytes(), dataset.dataset_mask().tobytes(), dataset.tags(), tuple(dataset.transform)


def written(tmp_path, suffix, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".json", ".vrt"])
def test_what_was_written_is_read(sealed, tmp_path, suffix):
    path = written(tmp_path, suffix, sealed[suffix])
    assert read(path)
    assert path.exists()


@pytest.mark.parametrize("suffix", [".tif", ".parquet", ".json", ".vrt"])
@given(data=st.data())
def test_damage_is_noticed_or_changes_nothing(sealed, tmp_path_factory, suffix, data):
    """One bit, a run of zeros, or an end that is missing: never another value."""
    content = sealed[suffix]
    kind = data.draw(st.sampled_from(["bit", "zeros", "cut"]))
    at = data.draw(st.integers(0, len(content) - 1))
    if kind == "bit":
        broken = content[:at] + bytes([content[at] ^ (1 << data.draw(st.integers(0, 7)))]) + content[at + 1 :]
    elif kind == "zeros":
        length = min(data.draw(st.integers(1, 4096)), len(content) - at)
        broken = content[:at] + bytes(length) + content[at + length :]
    else:
        broken = content[:at]
    folder = tmp_path_factory.mktemp("damaged")
    whole, path = written(folder, suffix, content), folder / f"broken{suffix}"
    expected = read(whole)
    path.write_bytes(broken)
    try:
        found = read(path)
    except Exception:  # readers of formats raise errors of many classes
        return
    assert found == expected


def test_a_damaged_file_is_set_aside_and_named(sealed, tmp_path):
    path = written(tmp_path, ".tif", sealed[".tif"][:9000] + b"?" + sealed[".tif"][9001:])
    with pytest.raises(DamagedFile, match=r"file\.tif is damaged: .* It is now file\.tif\.damaged: run again"):
        check_seal(path)
    assert [file.name for file in tmp_path.iterdir()] == ["file.tif.damaged"]


def test_a_file_that_lost_its_end_with_the_seal_is_damaged(sealed, tmp_path):
    path = written(tmp_path, ".tif", sealed[".tif"][: -SEAL_BYTES - 1])
    with pytest.raises(DamagedFile):
        check_seal(path)


def test_files_without_a_seal_are_read(tmp_path):
    path = tmp_path / "old.json"
    write_json(path, {"a": 1})
    assert read_json(path) == {"a": 1}
    # The same content leaves a file of an older version as it is; other content is written with a digest.
    assert not write_json(path, {"a": 1}, sealed=True)
    assert write_json(path, {"a": 2}, sealed=True)
    assert not write_json(path, {"a": 2}, sealed=True)
    assert set(json.loads(path.read_text())) == {"a", "digest"}
    table = tmp_path / "old.parquet"
    pq.write_table(pa.table({"a": [1]}), table)
    check_seal(table)
    empty = tmp_path / "empty.tif"
    empty.touch()
    check_seal(empty)


def test_only_files_in_a_folder_of_results_are_results(tmp_path):
    cell = tmp_path / "1/cells/N1"
    cell.mkdir(parents=True)
    (tmp_path / "1/plan.json").touch()
    assert is_result(cell / "composite.tif")
    assert is_result(tmp_path / "1/waterways.parquet")
    assert not is_result(tmp_path / "composite.tif")
