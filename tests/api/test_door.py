"""`import headwater`: what it offers, and how little it costs."""

import inspect
import resource
import subprocess
import sys

import pytest

import headwater as hw
import headwater.predict.step
from headwater.imagery.composite import composite as composite_step
from headwater.predict.step import predict as predict_step

VERBS = (
    "backbone_from_elevation", "channels", "check_network", "composite", "load_checkpoint", "open_basin", "predict",
    "strahler_order", "vectorize",
)  # fmt: skip


def cpu_seconds(code):
    spent = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def test_importing_costs_less_than_a_tenth_of_a_second():
    assert cpu_seconds("import headwater") - cpu_seconds("pass") < 0.1


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


@pytest.mark.parametrize(("verb", "step"), [("composite", composite_step), ("predict", predict_step)])
def test_defaults_are_those_of_the_step(verb, step):
    ours = inspect.signature(getattr(hw, verb)).parameters
    theirs = inspect.signature(step).parameters
    shared = [name for name in ours if name in theirs and theirs[name].default is not inspect.Parameter.empty]
    assert shared
    assert {name: ours[name].default for name in shared} == {name: theirs[name].default for name in shared}
