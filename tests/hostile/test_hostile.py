"""Hostile inputs on every door: the short version of the campaign (`make hostile`)."""

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hostile import place
from hostile.awaiting import is_awaited
from hostile.campaign import try_door
from hostile.doors import DOORS
from hostile.fork_server import MEGABYTES, SECONDS
from hostile.lab import RIGHT, Input, Lab
from hostile.mutation import DAMAGES, change_json

SEED = 1
"""The same inputs on each machine; `make hostile` draws others."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with Lab(tmp_path_factory.mktemp("hostile") / "lab") as lab:
        yield lab


def harm(outcomes):
    return [(each.input.name, each.faults, each.said) for each in outcomes if not each.is_good and not is_awaited(each)]


@pytest.mark.parametrize("door", DOORS)
def test_hostile_inputs_do_no_harm(lab, door):
    outcomes = try_door([lab], door, DOORS[door].short, SEED, slow=False)
    assert len(outcomes) == DOORS[door].short
    assert not harm(outcomes)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(random=st.randoms(use_true_random=False), file=st.sampled_from([place.SCENES, place.DEM, place.PLAN]))
def test_a_manifest_of_another_value_does_no_harm(lab, random, file):
    reader = place.ELEVATE if file == place.DEM else place.COMPOSE
    made = Input(
        "intermediates", "drawn", (reader,), lambda bench: bench.change_json(file, lambda value: changed(value))
    )

    def changed(value):
        return change_json(value, random)[1]

    assert not harm([lab.try_out(made)])


def test_a_campaign_has_a_thousand_inputs():
    assert sum(door.campaign for door in DOORS.values()) >= 1000
    assert DOORS["intermediates"].campaign >= 215


def test_damage_is_a_change():
    content = Random(1).randbytes(1000)
    assert all(change(content, Random(0)) != content for change in DAMAGES.values())


class TestLab:
    """The lab sees what it is there to see."""

    @pytest.mark.parametrize(
        ("function", "seen"),
        [
            ("connect", "connect 127.0.0.2"),
            ("open_secret", "file that an input names: secret.txt"),
            ("write_outside", "write '/tmp/outside"),
            ("start_process", "process subprocess.Popen"),
            ("take_memory", "memory"),
            ("crash", "signal 11"),
            ("raise_error", "traceback"),
            ("refuse_without_remedy", "no sentences"),
        ],
    )
    def test_fault_is_seen(self, lab, function, seen):
        command = place.Command((f"hostile.culprits:{function}", str(lab.canary.text), lab.canary.url), ())
        assert seen in "; ".join(lab.try_out(Input("lab", function, (command,))).faults)

    def test_silent_use_is_seen(self, lab):
        command = place.Command(("hostile.culprits:copy_file", place.PLAN), ("copy.json",))
        sound = Input("lab", "sound", (command,), may_differ=False)
        assert lab.try_out(sound).kind == RIGHT
        other = Input("lab", "other", (command,), lambda bench: bench.replace(place.PLAN, b"x"), may_differ=False)
        assert lab.try_out(other).faults == ("used silently",)

    def test_limits_are_those_of_the_policy(self):
        assert (SECONDS, MEGABYTES) == (60, 2000)
