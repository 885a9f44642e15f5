"""Ids of links that regions and basins do not share."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from headwater.geo.basins import is_area, tdx_header_numbers

LINKS_PER_REGION = 10_000_000
"""A global link id is LINKNO + header * 10,000,000, as GEOGLOWS publishes them."""
_BASIN_HEADERS = (100, 800)
_AREA_HEADERS = (1000, 8000)
"""First header, and how many there are: the last one leaves five digits for the segments of a link below 2**53."""


def region_header(basin_id: str) -> int:
    """Return the number that makes link ids of a basin globally unique.

    The 62 regions of TDX-Hydro have headers 11 to 91 (geoglows/tdxhydro-postprocessing, BSD-3-Clear); any other basin
    gets 100 to 899, and an area 1000 to 8999, from the CRC-32 of its id.
    """
    known = tdx_header_numbers().get(basin_id)
    if known is not None:
        return int(known)
    first, count = _AREA_HEADERS if is_area(basin_id) else _BASIN_HEADERS
    return first + zlib.crc32(basin_id.encode()) % count


def global_link_ids(link_ids: NDArray[np.int64], basin_id: str) -> NDArray[np.int64]:
    """Return header * 10,000,000 + link_id; ids of 10,000,000 and more include their header already and keep it."""
    link_ids = np.asarray(link_ids, dtype=np.int64)
    return np.where(link_ids < LINKS_PER_REGION, region_header(basin_id) * LINKS_PER_REGION + link_ids, link_ids)
