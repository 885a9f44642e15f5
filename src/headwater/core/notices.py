"""Notices that the owners of data ask for, found by the names of the products that were used.

A product is known by its own name: the id of a scene or elevation tile, or the name of a file, as its owner gives it.
Files and items under names of your own get no notice, since nothing shows what they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

NOTICES = {
    r"S2[A-D]_": "Contains modified Copernicus Sentinel data.",
    r"Copernicus_DSM_": (
        "Contains Copernicus DEM: (c) DLR e.V. 2010-2014 and (c) Airbus Defence and Space GmbH 2014-2018, provided "
        "under COPERNICUS by the European Union and ESA; all rights reserved."
    ),
    r"TDX_?(streamnet|streamreach|stream|basins)": (
        "Backbone from TDX-Hydro: National Geospatial-Intelligence Agency; Carlson et al. (2024)."
    ),
    r"hybas_": "Basins from HydroBASINS: Lehner and Grill (2013), doi:10.1002/hyp.9740.",
    r"HydroLAKES": "Lakes from HydroLAKES, CC BY 4.0: Messager et al. (2016), doi:10.1038/ncomms13603.",
}
"""Notice by the pattern that the names of its product begin with, without regard to case."""


def notices_of(names: Iterable[str]) -> tuple[str, ...]:
    """Return the notice of every product among the names, in the order of `NOTICES`."""
    patterns = {pattern: re.compile(pattern, re.IGNORECASE) for pattern in NOTICES}
    found = {pattern for name in names for pattern, product in patterns.items() if product.match(name)}
    return tuple(notice for pattern, notice in NOTICES.items() if pattern in found)
