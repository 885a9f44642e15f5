import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from headwater.core.errors import InputError
from headwater.core.sentinel2 import CLEAR_SCL
from headwater.imagery.masks import MASKS, CloudMask, clear_mask


def test_clear_classes_are_those_of_the_method():
    scl = np.arange(12, dtype=np.uint8)[np.newaxis]
    assert np.flatnonzero(clear_mask(scl, dilate_px=0)).tolist() == [2, 4, 5, 6, 7, 11]


def test_clouds_grow_but_the_swath_edge_does_not():
    scl = np.full((9, 9), 4, np.uint8)
    scl[4, 4] = 9
    scl[:, 0] = 0
    clear = clear_mask(scl, dilate_px=2)
    assert (~clear[:, 1:]).sum() == 13
    assert clear[:, 1].all()


@given(hnp.arrays(np.uint8, (12, 15), elements=st.integers(0, 11)), st.integers(0, 7))
def test_clouds_grow_by_a_disc_as_scipy_grows_them(scl, dilate_px):
    y, x = np.ogrid[-dilate_px : dilate_px + 1, -dilate_px : dilate_px + 1]
    clear = np.isin(scl, CLEAR_SCL)
    bad = ndimage.binary_dilation(~clear & (scl != 0), structure=x * x + y * y <= dilate_px**2)
    assert np.array_equal(clear_mask(scl, dilate_px=dilate_px), clear & ~bad)


def test_a_negative_width_is_refused():
    with pytest.raises(InputError, match="widened"):
        clear_mask(np.ones((2, 2), np.uint8), dilate_px=-1)


def test_another_mask_must_be_known_and_installed():
    dn = np.ones((4, 2, 2), np.uint16)
    with pytest.raises(InputError, match="fog"):
        clear_mask(dn, mask="fog", dilate_px=0)
    try:
        import omnicloudmask  # noqa: F401
    except ImportError:
        with pytest.raises(InputError, match="not installed"):
            clear_mask(dn, mask="omnicloudmask", dilate_px=0)


def test_another_package_brings_a_mask(monkeypatch):
    monkeypatch.setattr(MASKS, "_added", {})
    bright = CloudMask(reads_scl=False, context_px=0, classify=lambda dn: ((dn < 5).all(axis=0), (dn != 0).all(axis=0)))
    MASKS.add("bright", bright)
    dn = np.ones((4, 1, 3), np.uint16)
    dn[:, 0, 2] = 9
    assert clear_mask(dn, mask="bright", dilate_px=0).tolist() == [[True, True, False]]
    assert clear_mask(dn, mask="bright", dilate_px=1).tolist() == [[True, False, False]]
