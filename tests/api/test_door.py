"""`import headwater`: what it offers, and how little it costs."""

import inspect
import subprocess
import sys

import pytest

import headwater as hw
import headwater.predict.step

VERBS = (
    "backbone_from_elevation", "channels", "check_network", "composite", "load_checkpoint", "open_basin", "predict",
    "strahler_order", "vectorize",
)  # fmt: skip


def test_importing_loads_nothing_heavy():
    code = "import sys, headwater; print([m for m in ('numpy', 'torch', 'xarray', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_offered_and_documented(name):
    assert name in dir(hw)
    assert name in hw.__all__
    assert callable(getattr(hw, name))
    assert "Examples" in getattr(sys.modules["headwater.api"], name).__doc__


def test_the_version_is_that_of_the_package():
    from importlib.metadata import version

    assert hw.__version__ == version("headwater")
    assert "__version__" in dir(hw)


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'walrus'"):
        _ = hw.walrus


def test_predict_is_both_the_function_and_the_wing():
    assert callable(hw.predict)
    assert hw.predict.step is headwater.predict.step
    assert list(inspect.signature(hw.predict).parameters)[:2] == ["composite", "elevation"]
