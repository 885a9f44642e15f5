"""Both methods of finding segments, ours and the published one, called alike on one catchment."""

import numpy as np

from headwater.waterways.lines.vectorize import segments_of_window, vectorize_window
from headwater.waterways.published.method import vectorize_catchment
from headwater.waterways.segments import segment_table
from headwater.waterways.settings import VectorizeSettings

LINK = 7


def vectorized_window(grid, elevation, probability, reach, catchment, *, flows_on=True, **options):
    """What our method finds in one catchment."""
    valid = np.isfinite(probability)
    return vectorize_window(
        np.rint(np.where(valid, probability, 0) * 255).astype(np.uint8),
        valid,
        elevation,
        grid,
        reaches=np.array([reach], dtype=object),
        flows_on=np.array([flows_on]),
        catchments=np.array([catchment], dtype=object),
        catchment_label=np.array([0]),
        own=np.array([True]),
        settings=VectorizeSettings(**options),
    )


def by_components(*place, **options):
    """The segments of one catchment by our method, as a table."""
    return segments_of_window(vectorized_window(*place, **options), np.array([LINK]))


def as_published(grid, elevation, probability, reach, catchment, *, flows_on=True, **options):
    """The segments of one catchment by the published method, as a table."""
    found = vectorize_catchment(
        probability,
        elevation,
        grid,
        catchment=catchment,
        reach=reach,
        flows_on=flows_on,
        settings=VectorizeSettings(**options),
    )
    return segment_table([(LINK, found)])
