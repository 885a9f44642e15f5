"""Positions of the tiles of a prediction."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.core.errors import InputError
from headwater.geo.grid import tiles


@dataclass(frozen=True)
class Tiling:
    """Overlapping tiles of one shape over a raster; the last ones clamp inward."""

    tile: tuple[int, int]
    """Rows and columns of every tile."""
    padded: tuple[int, int]
    """Rows and columns of the raster after padding; larger than it only along an axis of one tile."""
    rows: tuple[int, ...]
    """First row of each row of tiles."""
    columns: tuple[int, ...]
    """First column of each column of tiles."""

    @staticmethod
    def over(shape: tuple[int, int], *, tile_px: int, overlap_px: int, multiple: int) -> Tiling:
        """Place tiles over a raster.

        Parameters
        ----------
        shape : (rows, columns)
            Size of the raster. Where it is smaller than a tile, the tile shrinks to what `multiple` allows.
        tile_px, overlap_px : int
            Side of a tile and minimum overlap of neighbors.
        multiple : int
            The sides of a tile are multiples of this.

        Raises
        ------
        InputError
            The tile does not suit the network, or the overlap the tile.
        """
        if tile_px < 2 * multiple or tile_px % multiple:
            raise InputError(
                f"A tile of {tile_px} px does not suit a network whose input must be a multiple of {multiple} px.",
                f"Use a multiple of {multiple} px, at least {2 * multiple}.",
            )
        if 2 * overlap_px > tile_px:
            raise InputError(
                f"Tiles of {tile_px} px cannot overlap by {overlap_px} px, which is more than half a tile.",
                f"Use an overlap of {tile_px // 2} px or less.",
            )
        sides, padded, starts = [], [], []
        for length in shape:
            # At least two pixels at the deepest level: the variance of one is not defined.
            small = max(2, -(-length // multiple)) * multiple
            side = min(tile_px, small)
            size = max(length, side)
            sides.append(side)
            padded.append(size)
            # One axis at a time: tiles over a strip as wide as a tile.
            strip = tiles((size, side), tile_px=side, overlap_px=min(overlap_px, side - 2))
            starts.append(tuple(tile.row for tile in strip))
        return Tiling((sides[0], sides[1]), (padded[0], padded[1]), starts[0], starts[1])
