"""Flood maps from files: a hidden Markov tree from few labels, and the repair of a classifier's map by the terrain."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from affine import Affine
from numpy.typing import NDArray

from headwater.core.errors import InputError
from headwater.core.events import say
from headwater.core.files import atomic_path
from headwater.core.markdown import markdown_table
from headwater.flood.hidden_markov import (
    DRY,
    FLOODED,
    UNKNOWN,
    best_labels,
    classifier_odds,
    fit,
    from_labels,
    node_odds,
    posterior,
)
from headwater.flood.labels import score_labels, spread_labels
from headwater.flood.settings import HmtSettings, PostprocessSettings, TreeSettings
from headwater.flood.trees import Tree, collapse, make_tree
from headwater.raster import Band, write_cog
from headwater.raster.elevation_values import elevation_band, read_meters
from headwater.raster.opening import with_retry

MAX_FLOOD_PX = 200_000_000
"""Pixels of a region: trees need about 120 bytes for each."""
LABELS = (Band("flood", "1 flood, 0 dry, 255 unknown", "gray"),)
FLOOD_PROBABILITY = (Band("flood_probability", "Probability of flood, given the terrain", "gray", "1", 1 / 255),)
_MISSING = 255


@dataclass(frozen=True)
class _Place:
    """Where the pixels of a raster are."""

    shape: tuple[int, int]
    transform: Affine
    crs: str

    @classmethod
    def of(cls, dataset: Any, path: Path) -> _Place:
        shape = (int(dataset.height), int(dataset.width))
        if shape[0] * shape[1] > MAX_FLOOD_PX:
            raise InputError(
                f"{path} has {shape[0]:,} x {shape[1]:,} pixels; {MAX_FLOOD_PX:,} are the most.",
                "Cut it to the regions of interest: trees are of one region each.",
            )
        return cls(shape, dataset.transform, dataset.crs.to_wkt() if dataset.crs else "")

    def refuse_other(self, other: _Place, path: Path, other_path: Path) -> None:
        """Refuse a raster on another grid, or in another place, than this one."""
        near = np.allclose(tuple(self.transform)[:6], tuple(other.transform)[:6], rtol=1e-6, atol=1e-9)
        same_crs = self.crs == other.crs or _crs(self.crs) == _crs(other.crs)
        if self.shape != other.shape or not near or not same_crs:
            raise InputError(
                f"{other_path} is not on the grid of {path}: {_facts(other)} instead of {_facts(self)}.",
                f"Warp it first: gdalwarp -te, -ts and -t_srs of {path.name}.",
            )


def postprocess(
    probability: Path,
    elevation: Path,
    out: Path,
    *,
    settings: PostprocessSettings | None = None,
    probability_out: Path | None = None,
) -> None:
    """Repair a classifier's map of a flood so that water runs down: write the most probable labels.

    Sainju, He and Jiang (2022), HMCT as a post-processor: the classifier's probability takes the place of the
    features, divided by the prior; the labels are the jointly most probable ones.

    Parameters
    ----------
    probability : Path
        Probability of flood, one band: 0 to 1, or 0 to 255 in 8 bits; any CRS.
    elevation : Path
        Meters, on the same grid. Pixels without elevation keep the classifier's label, those of which it says nothing
        get the terrain's.
    out : Path
        COG to write: 1 flood, 0 dry, 255 where neither is known.
    settings : PostprocessSettings, optional
        Tree and weights.
    probability_out : Path, optional
        COG of the probability of flood given the terrain, uint8 p * 255.

    Raises
    ------
    InputError
        A raster cannot be used, or they are not on one grid.
    """
    settings = settings or PostprocessSettings()
    given, place = _read(probability, _read_probability)
    heights, other = _read(elevation, _read_elevation)
    place.refuse_other(other, probability, elevation)
    odds = classifier_odds(given, prior=settings.prior, clip=settings.clip, temperature=settings.temperature)
    tree, node = _tree(heights, settings)
    labels, flooded = _solve(tree, node, odds.ravel(), settings, settings.epsilon, settings.prior)
    # What is in no tree is as the classifier says.
    alone = (labels == UNKNOWN) & np.isfinite(given.ravel())
    labels[alone] = (given.ravel()[alone] >= 0.5).astype(np.int8)
    flooded[alone] = given.ravel()[alone]
    known = np.isfinite(given)
    before = (given >= 0.5)[known].sum()
    changed = int((labels.reshape(given.shape)[known] != (given >= 0.5)[known]).sum())
    say(
        f"{changed:,} of {int(known.sum()):,} pixels changed; flood {int(before):,} before,"
        f" {int((labels == FLOODED).sum()):,} after.",
        changed=changed,
    )
    _write(labels, flooded, place, out, probability_out, settings)


def hmt(
    image: Path,
    elevation: Path,
    labels: Path,
    out: Path,
    *,
    settings: HmtSettings | None = None,
    probability_out: Path | None = None,
) -> None:
    """Map a flood from an image, its elevation and few labels: learn a hidden Markov tree and write its labels.

    Parameters
    ----------
    image : Path
        Bands of any number and type, all of them features.
    elevation : Path
        Meters, on the same grid.
    labels : Path
        One band on the same grid: 1 flood, 0 dry, anything else unknown.
    out, probability_out
        See `postprocess`.
    settings : HmtSettings, optional
        Tree and learning.

    Raises
    ------
    InputError
        A raster cannot be used, they are not on one grid, or a class has no label.
    """
    settings = settings or HmtSettings()
    features, place = _read(image, _read_bands)
    heights, other = _read(elevation, _read_elevation)
    place.refuse_other(other, image, elevation)
    marked, other = _read(labels, _read_labels)
    place.refuse_other(other, image, labels)
    flat = features.reshape(len(features), -1)
    start = from_labels(flat, marked.ravel(), epsilon=settings.epsilon, prior=settings.prior)
    tree, node = _tree(heights, settings)

    def report(iteration: int, change: float) -> None:
        say(f"iteration {iteration}: largest change {change:.2g}.", iteration=iteration, change=change)

    learned = fit(
        tree,
        flat,
        start,
        node=node,
        max_iterations=settings.max_iterations,
        tolerance=settings.tolerance,
        report=report,
    )
    odds = node_odds(flat, learned, tree)
    made, flooded = _solve(tree, node, odds, settings, learned.epsilon, learned.prior)
    known = marked.ravel() != UNKNOWN
    agree = float((made[known] == marked.ravel()[known]).mean())
    say(f"{agree:.1%} of the labels are met; epsilon {learned.epsilon:.3g}, prior {learned.prior:.3g}.", agree=agree)
    _write(made, flooded, place, out, probability_out, settings)


def spread(labels: Path, elevation: Path, out: Path) -> None:
    """Spread few labels along the terrain, as a start for training or for `hmt`; see `spread_labels`.

    Parameters
    ----------
    labels : Path
        One band: 1 flood, 0 dry, anything else unknown.
    elevation : Path
        Meters, on the same grid.
    out : Path
        COG to write: 1 flood, 0 dry, 255 unknown.

    Raises
    ------
    InputError
        A raster cannot be used, they are not on one grid, or nothing is labeled.
    """
    marked, place = _read(labels, _read_labels)
    heights, other = _read(elevation, _read_elevation)
    place.refuse_other(other, labels, elevation)
    before = int((marked != UNKNOWN).sum())
    if not before:
        raise InputError(f"{labels} labels no pixel.", "Label some pixels: 1 flood, 0 dry.")
    made, conflicts = spread_labels(marked, heights)
    say(f"{before:,} labels became {int((made != UNKNOWN).sum()):,}.", labels=int((made != UNKNOWN).sum()))
    if conflicts:
        say(f"{conflicts:,} pixels that both flood and dry spread to stay unknown.", conflicts=conflicts)
    classes = np.where(made == UNKNOWN, _MISSING, made).astype(np.uint8)[np.newaxis]
    write_cog(
        out,
        classes,
        transform=place.transform,
        crs=place.crs,
        nodata=_MISSING,
        bands=LABELS,
        overview_resampling="nearest",
    )


def score(found: Sequence[Path], labels: Sequence[Path], out: Path | None = None) -> pd.DataFrame:
    """Score flood maps by labels, each of a region; print the table, and write it as CSV.

    Parameters
    ----------
    found, labels : sequence of Path
        A map and the labels of each region, on one grid: 1 flood, 0 dry, anything else unknown.
    out : Path, optional
        CSV to write.

    Returns
    -------
    DataFrame
        region, class, accuracy, precision, recall, f1; percent.

    Raises
    ------
    InputError
        A raster cannot be used, or their numbers differ.
    """
    if len(found) != len(labels):
        raise InputError(f"{len(found)} maps and {len(labels)} labels are given.", "Give the labels of each map.")
    tables = []
    for one, other in zip(found, labels, strict=True):
        made, place = _read(one, _read_labels)
        truth, there = _read(other, _read_labels)
        place.refuse_other(there, one, other)
        tables.append(score_labels(made, truth).rename_axis("class").reset_index().assign(region=one.stem))
    table = pd.concat(tables, ignore_index=True)[["region", "class", "accuracy", "precision", "recall", "f1"]]
    print(markdown_table(list(table.columns), table.itertuples(index=False), digits=2), end="")
    if out is not None:
        with atomic_path(out) as temporary:
            table.round(4).to_csv(temporary, index=False, lineterminator="\n")
    return table


def _tree(heights: NDArray[np.float32], settings: TreeSettings) -> tuple[Tree, NDArray[np.int32] | None]:
    tree = make_tree(heights, settings.tree)
    if not settings.collapse:
        return tree, None
    joined, node = collapse(tree, heights)
    if len(joined.sequence) == 1:
        raise InputError(
            "All of the elevation is one level, which collapses to a single node.",
            "Give elevation with relief, or leave out --collapse.",
        )
    return joined, node


def _solve(
    tree: Tree,
    node: NDArray[np.int32] | None,
    odds: NDArray[np.float64],
    settings: TreeSettings,
    epsilon: float,
    prior: float,
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Return the label and the probability of flood of each pixel."""
    if node is not None:
        inside = node >= 0
        odds = np.bincount(node[inside], weights=odds[inside], minlength=len(tree.toward)).astype(np.float64)
    labels = best_labels(tree, odds, epsilon=epsilon, prior=prior)
    flooded = posterior(tree, odds, epsilon=epsilon, prior=prior)[0]
    if node is None:
        return labels, flooded
    return np.where(node >= 0, labels[node], UNKNOWN).astype(np.int8), np.where(node >= 0, flooded[node], np.nan)


def _write(
    labels: NDArray[np.int8],
    flooded: NDArray[np.float64],
    place: _Place,
    out: Path,
    probability_out: Path | None,
    settings: TreeSettings,
) -> None:
    tags = {"method": settings.tree, "settings": settings.model_dump_json()}
    shared: dict[str, Any] = {"transform": place.transform, "crs": place.crs, "nodata": _MISSING, "tags": tags}
    shape = (1, *place.shape)
    if probability_out is not None:
        # The largest value is for what is missing.
        scaled = np.where(np.isnan(flooded), _MISSING, np.minimum(np.rint(np.nan_to_num(flooded) * 255), 254))
        write_cog(probability_out, scaled.astype(np.uint8).reshape(shape), bands=FLOOD_PROBABILITY, **shared)
    classes = np.where(labels == UNKNOWN, _MISSING, labels).astype(np.uint8)
    write_cog(out, classes.reshape(shape), bands=LABELS, overview_resampling="nearest", **shared)


def _read(path: Path, read: Callable[[Any, Path], NDArray[Any]]) -> tuple[NDArray[Any], _Place]:
    def both(dataset: rasterio.DatasetReader) -> tuple[NDArray[Any], _Place]:
        place = _Place.of(dataset, path)
        return read(dataset, path), place

    return with_retry(Path(path), None, both)


def _read_elevation(dataset: Any, path: Path) -> NDArray[np.float32]:
    values, valid = read_meters(dataset, elevation_band(dataset, path), path)
    return np.where(valid, values, np.float32(np.nan))


def _read_bands(dataset: Any, path: Path) -> NDArray[np.float32]:
    values: NDArray[np.float32] = dataset.read().astype(np.float32)
    values[:, dataset.dataset_mask() == 0] = np.nan
    if not np.isfinite(values).all(axis=0).any():
        raise InputError(f"{path} has no pixel with all bands.", "Check its nodata values.")
    return values


def _read_probability(dataset: Any, path: Path) -> NDArray[np.float64]:
    if dataset.count != 1:
        raise InputError(f"{path} has {dataset.count} bands; one is expected.", "Give the probability of flood alone.")
    values = dataset.read(1).astype(np.float64)
    if dataset.dtypes[0] == "uint8":
        values /= 255
    values[dataset.dataset_mask() == 0] = np.nan
    return np.asarray(values)


def _read_labels(dataset: Any, path: Path) -> NDArray[np.int8]:
    if dataset.count != 1:
        raise InputError(f"{path} has {dataset.count} bands; one is expected.", "Give the labels alone.")
    values = dataset.read(1)
    known = dataset.dataset_mask() > 0
    # A nodata value of 0 is dry all the same: it is one of the labels.
    known |= values == DRY
    return np.where(known & ((values == DRY) | (values == FLOODED)), values, UNKNOWN).astype(np.int8)


def _crs(text: str) -> Any:
    return rasterio.crs.CRS.from_wkt(text) if text else None


def _facts(place: _Place) -> str:
    transform = place.transform
    corner = f"corner {transform.c:.6g}, {transform.f:.6g}"
    return f"{place.shape[0]} x {place.shape[1]} pixels of {transform.a:.6g} x {-transform.e:.6g}, {corner}"
