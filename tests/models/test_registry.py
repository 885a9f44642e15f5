"""Networks and recipes of other packages: registered by name, and a broken one leaves the others usable."""

import subprocess
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

from headwater.core import plugins
from headwater.core.errors import InputError
from headwater.models.channels import RECIPES, Channel, Recipe, make_channels
from headwater.models.inspect import list_models
from headwater.models.registry import NETWORKS, build_network, describe_network
from headwater.models.unet import UNet

BANDS = Recipe(name="bands", channels=(Channel("R"), Channel("NDVI")))


class Other(UNet):
    """A network of another package."""

    summary = "another package's network"
    default_recipe = "bands"


@pytest.fixture
def entry_points(monkeypatch):
    """Another package that registers a network, a broken network, a recipe and a broken recipe."""
    points = {
        "headwater.networks": {
            "other": EntryPoint("other", f"{__name__}:Other", "headwater.networks"),
            "broken": EntryPoint("broken", "no_such_package:Network", "headwater.networks"),
        },
        "headwater.recipes": {
            "bands": EntryPoint("bands", f"{__name__}:BANDS", "headwater.recipes"),
            "torn": EntryPoint("torn", "no_such_package:RECIPE", "headwater.recipes"),
        },
    }
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _module())
    monkeypatch.setattr(plugins, "_entry_points", lambda group: points.get(group, {}))


def _module():
    module = type(sys)(__name__)
    module.Other, module.BANDS = Other, BANDS
    return module


def test_a_network_of_another_package_is_built_by_name(entry_points):
    assert NETWORKS.names()[-2:] == ("other", "broken")
    network = build_network("other", {"in_channels": 2, "base_channels": 2, "encoders": 2, "decoders": 1})
    assert type(network) is Other
    name, sizes = describe_network(network)
    assert name == "other"
    assert build_network(name, sizes).config == network.config


def test_a_recipe_of_another_package_makes_channels(entry_points):
    composite = np.full((4, 4, 4), 99, dtype=np.uint8)
    channels, _ = make_channels(composite, None, RECIPES.load("bands"))
    assert channels.shape == (2, 4, 4)


def test_a_broken_plugin_names_itself_and_leaves_the_others_usable(entry_points, capsys):
    with pytest.raises(InputError, match=r"network 'broken' .*cannot be imported"):
        build_network("broken", {})
    with pytest.raises(InputError, match=r"channel recipe 'torn' .*cannot be imported"):
        RECIPES.load("torn")
    list_models()
    printed = capsys.readouterr().out
    for text in ("waternet", "another package's network", "network 'broken'", "bands", "recipe 'torn'"):
        assert text in printed


def test_unknown_names_are_refused_with_those_that_exist():
    with pytest.raises(InputError, match="Use one of: waternet, evanet"):
        build_network("linknet", {})
    with pytest.raises(InputError, match="Use one of: paper, release"):
        RECIPES.load("mine")


def test_an_unregistered_class_is_refused():
    class Unregistered(UNet):
        pass

    with pytest.raises(InputError, match="Unregistered is not a registered network"):
        describe_network(Unregistered())


def test_only_the_chosen_network_is_imported():
    code = (
        "import sys; from headwater.models.registry import NETWORKS, build_network; build_network('fcn8s', {}); "
        "print(*(name for name in NETWORKS.names() if f'headwater.models.{name}' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["fcn8s"]


def test_packages_do_not_import_torch():
    code = "import sys, headwater.models, headwater.predict, headwater.train; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", NETWORKS.names())
def test_the_training_loop_can_ask_every_network_what_it_does(name):
    network = build_network(
        name, {"base_channels": 2, **({"encoders": 2, "decoders": 1} if name == "waternet" else {})}
    )
    side = 2 * network.config.multiple_px
    x = torch.zeros(1, network.config.in_channels, side, side)
    scores = network.training_scores(x)
    assert network.summary
    assert network.default_recipe in RECIPES.names()
    assert network.scores_to_log_odds(scores).shape == network.logits(x).shape
    assert (network.directions is None) == (name != "hourglass")
