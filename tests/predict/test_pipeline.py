"""Laws of a prediction by strips: what the result does not depend on, and what memory does not grow with."""

import itertools
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
import torch

from headwater.core.errors import InputError, WorkError
from headwater.models.channels import PAPER, RELATIVE, Channel, Recipe, make_channels
from headwater.models.waternet import WaterNet, WaterNetConfig
from headwater.predict.blending import WINDOWS
from headwater.predict.ensemble import EnsembleMember
from headwater.predict.pipeline import Options, predict_probability, predict_strips, quantize

SIZES = WaterNetConfig(base_channels=1, encoders=2, decoders=1)
LOCAL = Recipe(name="local", channels=(Channel("relative_elevation", parameters={"radius_px": 4}), Channel("dE/dx")))


class Channel0(torch.nn.Module):
    """Returns the first channel, squeezed: local, so that only the channels can differ between tilings."""

    config = SIZES

    def forward(self, x):
        return torch.sigmoid(torch.nn.functional.avg_pool2d(x[:, :1], 2) / 9)


def place(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(1, 256, (4, *shape), dtype=np.uint8), rng.normal(100, 9, shape).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(3)
    return WaterNet(WaterNetConfig(base_channels=2, encoders=2, decoders=1)).eval()


def test_channels_of_a_local_recipe_are_those_of_the_whole_raster_in_any_tiling():
    composite, elevation = place((130, 110))
    whole, _ = make_channels(composite, elevation, LOCAL)
    with torch.inference_mode():
        expected = Channel0()(torch.from_numpy(whole)[None])[0, 0].numpy()
    for tile_px, overlap_px in ((32, 0), (40, 10), (64, 30)):
        probability, _ = predict_probability(
            Channel0(), LOCAL, composite, elevation, tile_px=tile_px, overlap_px=overlap_px
        )
        np.testing.assert_allclose(probability, expected, atol=1e-5)


def test_bytes_do_not_depend_on_threads_and_hardly_on_batches(network):
    composite, elevation = place((96, 160))
    options = {"tile_px": 32, "overlap_px": 12}
    first, _ = predict_probability(network, RELATIVE, composite, elevation, **options)
    for threads in (2, 3):
        again, _ = predict_probability(network, RELATIVE, composite, elevation, threads=threads, **options)
        np.testing.assert_array_equal(first, again)
    for batch_size, threads in ((2, 1), (5, 2), (64, 1)):
        batched, _ = predict_probability(
            network, RELATIVE, composite, elevation, threads=threads, batch_size=batch_size, **options
        )
        assert np.abs(quantize(first).astype(int) - quantize(batched)).max() <= 1


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("recipe", [PAPER, RELATIVE], ids=["paper", "relative"])
def test_a_constant_field_predicts_a_constant_in_any_tiling(window, recipe):
    composite = np.full((4, 100, 84), 90, dtype=np.uint8)
    elevation = np.full((100, 84), 321, dtype=np.float32)
    values = set()
    for tile_px, overlap_px, tta in itertools.product((16, 48), (0, 8), (False, True)):
        probability, valid = predict_probability(
            Channel0(), recipe, composite, elevation, tile_px=tile_px, overlap_px=overlap_px, tta=tta, window=window
        )
        assert valid.all()
        assert np.ptp(quantize(probability)) == 0
        values.add(int(quantize(probability)[0, 0]))
    assert len(values) == 1


def test_moving_the_tiling_changes_nothing_of_a_local_network():
    composite, elevation = place((120, 140))
    options = {"tile_px": 40, "overlap_px": 12}
    whole, _ = predict_probability(Channel0(), LOCAL, composite, elevation, **options)
    moved, _ = predict_probability(Channel0(), LOCAL, composite[:, 6:, 10:], elevation[6:, 10:], **options)
    # Next to the new border the smooth surface differs.
    reach = int(LOCAL.support_px)
    inside = (slice(reach, None), slice(reach, None))
    off = np.abs(quantize(whole)[3:, 5:].astype(int) - quantize(moved))[inside]
    assert off.max() <= 1


def test_rows_are_read_once_in_order_and_strips_written_in_order():
    composite, elevation = place((200, 64))
    read_rows, written_rows, threads = [], [], set()

    def read(first, end):
        read_rows.append((first, end))
        threads.add(("read", threading.get_ident()))
        return composite[:, first:end], elevation[first:end]

    def write(row, probability, valid):
        written_rows.append((row, row + len(probability)))
        threads.add(("write", threading.get_ident()))
        assert probability.shape == valid.shape == (len(probability), 32)

    options = Options(tile_px=32, overlap_px=12, batch_size=3)
    predict_strips([EnsembleMember(Channel0(), RELATIVE)], (200, 64), read, write, options)
    for rows, end in ((read_rows, 200), (written_rows, 100)):
        assert rows[0][0] == 0
        assert rows[-1][1] == end
        assert all(before[1] == after[0] for before, after in itertools.pairwise(rows) if after[0] != after[1])
    assert len(threads) == 2
    assert threading.get_ident() not in {thread for _, thread in threads}


def test_memory_does_not_grow_with_the_rows():
    def peak(rows):
        rng = np.random.default_rng(0)

        def read(first, end):
            shape = (end - first, 256)
            return rng.integers(1, 256, (4, *shape), dtype=np.uint8), np.ones(shape, dtype=np.float32)

        tracemalloc.start()
        try:
            options = Options(tile_px=64, overlap_px=16)
            predict_strips([EnsembleMember(Channel0(), PAPER)], (rows, 256), read, lambda *_: None, options)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(128)
    small, large = peak(512), peak(4096)
    # The complete composite and elevation alone would take 8 MB.
    assert large < 1.1 * small + 200_000
    assert large < 4e6


def test_an_error_of_any_thread_ends_the_run():
    composite, elevation = place((200, 64))

    def read(first, end):
        return composite[:, first:end], elevation[first:end]

    def fail(*_):
        raise ZeroDivisionError("in a thread")

    class Broken(Channel0):
        def forward(self, x):
            fail()

    options = Options(tile_px=32, overlap_px=8, threads=2)
    for model, reads, writes in (
        (Channel0(), fail, lambda *_: None),
        (Channel0(), read, fail),
        (Broken(), read, lambda *_: None),
    ):
        with pytest.raises(ZeroDivisionError):
            predict_strips([EnsembleMember(model, PAPER)], (200, 64), reads, writes, options)


def test_an_unknown_height_reaches_no_farther_than_its_tile_and_recipe():
    composite, elevation = place((64, 64))
    holed = elevation.copy()
    holed[20:24, 20:24] = np.nan
    options = {"tile_px": 64, "overlap_px": 0}
    whole, _ = predict_probability(Channel0(), LOCAL, composite, elevation, **options)
    probability, valid = predict_probability(Channel0(), LOCAL, composite, holed, **options)
    assert valid.all()
    changed = np.argwhere(np.abs(whole - probability) > 1e-6)
    reach = int(LOCAL.support_px)
    assert changed.min() >= (20 - reach) // 2
    assert changed.max() <= (24 + reach) // 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_network_predicts_the_same():
    composite, elevation = place((32, 64))
    plain, _ = predict_probability(Channel0(), PAPER, composite, elevation, tile_px=32, overlap_px=8)
    compiled, _ = predict_probability(Channel0(), PAPER, composite, elevation, tile_px=32, overlap_px=8, compile=True)
    np.testing.assert_allclose(plain, compiled, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": "stained"}, "no window"),
        ({"threads": 0}, "too small"),
        ({"batch_size": -1}, "too small"),
        ({"dtype": "float8"}, "no type"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        predict_probability(Channel0(), PAPER, *place((32, 32)), tile_px=32, **options)


def test_an_output_that_is_not_finite_is_refused():
    class Overflowing(Channel0):
        def forward(self, x):
            return super().forward(x) * torch.inf

    with pytest.raises(WorkError, match="not finite in float32"):
        predict_probability(Overflowing(), PAPER, *place((32, 32)), tile_px=32, overlap_px=0)


PEAK = """
import resource, sys
import numpy as np
from headwater.models.channels import PAPER
from headwater.models.registry import build_network
from headwater.predict.ensemble import EnsembleMember
from headwater.predict.pipeline import Options, predict_strips
rows = int(sys.argv[1])
network = build_network("waternet", {"base_channels": 1, "encoders": 2, "decoders": 1}).eval()
rng = np.random.default_rng(0)
def read(first, end):
    return rng.integers(1, 256, (4, end - first, 512), dtype=np.uint8), np.zeros((end - first, 512), np.float32)
options = Options(tile_px=256, overlap_px=32)
predict_strips([EnsembleMember(network, PAPER)], (rows, 512), read, lambda *_: None, options)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_the_process_does_not_grow_with_the_rows():
    def peak_mb(rows):
        command = [sys.executable, "-c", PEAK, str(rows)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout) / 1024

    # The larger one reads 67 MB of pixels, and makes 84 MB of channels in the smaller type.
    assert peak_mb(16384) < peak_mb(2048) + 30
