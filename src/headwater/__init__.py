"""Headwater: the world's waterways from Sentinel-2 and Copernicus GLO-30 as one valid network.

`import headwater as hw` offers the steps as functions on xarray and GeoPandas objects; see `headwater.api`. They are
loaded when first used.
"""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

from headwater import predict as _wing

if TYPE_CHECKING:
    from inspect import Signature

    from headwater.api import Basin as Basin
    from headwater.api import backbone_from_elevation as backbone_from_elevation
    from headwater.api import channels as channels
    from headwater.api import check_network as check_network
    from headwater.api import composite as composite
    from headwater.api import load_checkpoint as load_checkpoint
    from headwater.api import open_basin as open_basin
    from headwater.api import predict as predict
    from headwater.api import strahler_order as strahler_order
    from headwater.api import vectorize as vectorize

    __version__: str

if "NUMBA_CACHE_DIR" in os.environ:
    from headwater.core.private_files import keep_code_cache_private

    keep_code_cache_private()

__all__ = [
    "Basin",
    "__version__",
    "backbone_from_elevation",
    "channels",
    "check_network",
    "composite",
    "load_checkpoint",
    "open_basin",
    "predict",
    "strahler_order",
    "vectorize",
]


class _CallableWing(ModuleType):
    """The wing `headwater.predict`, which is called as the function of the same name: one name can only be one."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call `headwater.api.predict`."""
        return _of_api("predict")(*args, **options)

    @property
    def __signature__(self) -> Signature:
        from inspect import signature

        return signature(_of_api("predict"))


_wing.__class__ = _CallableWing


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("headwater")
    elif name in __all__:
        value = _of_api(name)
    else:
        raise AttributeError(f"module 'headwater' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _of_api(name: str) -> Any:
    from importlib import import_module

    return getattr(import_module("headwater.api"), name)
