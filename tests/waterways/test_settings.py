import pytest

from headwater.core.errors import InputError
from headwater.waterways.settings import VectorizeSettings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"floor": 0.6}, "floor"),
        ({"cost_limits": (32, 8)}, "cost_limits must rise"),
        ({"method": "magic"}, "method must be headwater or published"),
        ({"cost_below_floor": 0.0}, "cost"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        VectorizeSettings(**change)
