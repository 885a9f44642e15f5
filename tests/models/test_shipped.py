import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from headwater.core.errors import InputError
from headwater.core.terms import Terms
from headwater.models.shipped import (
    DEMO_WARNING,
    checkpoint_named,
    default_checkpoints,
    fetched_checkpoint,
    terms_of,
    uses_demo_weights,
)

SHIPPED = [json.loads(path.with_suffix(".json").read_text()) for path in default_checkpoints()]


def weights(sha256="0" * 64, license="Apache-2.0", citation=""):
    return SimpleNamespace(sha256=sha256, license=license, citation=citation)


def test_shipped_weights_ask_nothing_and_warn_on_real_data_only():
    own = [weights(each["sha256"]) for each in SHIPPED]
    assert terms_of(own, demo_data=True) == Terms()
    assert terms_of(own, demo_data=False) == Terms(weights=("demo",), warning=(DEMO_WARNING,))
    assert terms_of([weights()], demo_data=False) == Terms()


def test_weights_of_others_pass_on_their_license_and_citation():
    published = weights(license="CC BY-SA 4.0", citation="Pierson et al. (2026)")
    mean = terms_of([published, weights(SHIPPED[0]["sha256"])], demo_data=False)
    assert mean.license == ("CC BY-SA 4.0",)
    assert mean.citation == ("Pierson et al. (2026)",)
    assert mean.weights == ("demo",)


@pytest.mark.parametrize("names", [[], [str(default_checkpoints()[1])]])
def test_a_configuration_with_shipped_weights_is_known(names):
    assert uses_demo_weights(names)


def test_other_and_missing_weights_are_not_taken_for_them(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"sha256": "1" * 64}))
    assert not uses_demo_weights([tmp_path / "a.safetensors", tmp_path / "none.safetensors"])


def test_a_word_names_a_fetched_checkpoint(tmp_path):
    assert checkpoint_named("own/weights.safetensors", tmp_path) == Path("own/weights.safetensors")
    with pytest.raises(InputError, match=r"waternet needs .*which is not there.*\n?.*headwater models fetch waternet"):
        checkpoint_named("waternet", tmp_path)
    file = fetched_checkpoint("waternet", tmp_path)
    file.parent.mkdir()
    for end in (".safetensors", ".json"):
        file.with_suffix(end).touch()
    assert checkpoint_named(Path("waternet"), tmp_path) == file
