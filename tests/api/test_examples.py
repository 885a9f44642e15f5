"""The examples in the docstrings of the public functions run as they are written."""

import doctest

import pytest

import headwater as hw
from headwater import api
from support.small_place import COMPOSITE_GRID, elevation_array, image_array, probability_array, window

EXAMPLES = [test for test in doctest.DocTestFinder().find(api, "headwater") if test.examples]


@pytest.fixture(scope="module")
def names(items, weights, results):
    """What the examples take as given."""
    return {
        "hw": hw,
        "image": window(image_array(COMPOSITE_GRID), (128, 128)),
        "elevation": elevation_array(),
        "probability": probability_array(),
        "network": hw.open_basin(results).network,
        "items": items,
        "weights": weights,
        "results": results,
    }


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_runs(example, names):
    example.globs = dict(names)
    said = []
    failed, tried = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert tried
    assert not failed, "".join(said)
