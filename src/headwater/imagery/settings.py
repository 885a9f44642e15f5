"""Settings of search, select and composite."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from headwater.core.errors import InputError
from headwater.core.settings import Settings, setting
from headwater.core.texts import ItemId, OneLine
from headwater.stac.intervals import parse_date_range
from headwater.stac.settings import PATIENCE_S, REQUEST_TIMEOUT_S

MAX_LEFT_OUT = 0.5
"""Fraction of scenes that may be left out where none is given."""


class SearchSettings(Settings):
    """Which scenes are pinned."""

    section: ClassVar[str] = "search"

    datetime: OneLine | None = setting(
        None,
        "First and last day of the imagery, YYYY-MM-DD/YYYY-MM-DD; without it no scenes are pinned but elevation tiles"
        " alone, as predict.source published needs.",
    )
    years_back: int = setting(
        1,
        "How many earlier years are searched as well, for places without a clear view.",
        unit="years",
        ge=0,
        le=10,
    )
    max_cloud_cover: float = setting(
        90.0,
        "Scenes with more cloud are not pinned; scenes without cloud metadata are.",
        unit="percent",
        ge=0,
        le=100,
    )
    exclude: tuple[ItemId, ...] = setting(
        (), "Ids of items that are not pinned, such as those of scenes whose files are damaged."
    )
    slice_days: int = setting(
        31, "How many days one request to a STAC API covers.", unit="days", reruns=False, ge=1, le=3660
    )
    workers: int = setting(
        2, "Requests to a STAC API at the same time; services ban heavy searchers.", reruns=False, ge=1, le=16
    )
    timeout_s: float = setting(
        REQUEST_TIMEOUT_S,
        "Longest time one request to a STAC API may take.",
        unit="seconds",
        reruns=False,
        gt=0,
        le=600,
    )
    patience_s: float = setting(
        PATIENCE_S,
        "How long a request to a STAC API is repeated that fails or is not answered; no attempt begins later.",
        unit="seconds",
        reruns=False,
        ge=0,
        le=86_400,
    )

    @model_validator(mode="after")
    def _check_dates(self) -> Self:
        if self.datetime is not None:
            parse_date_range(self.datetime)
        return self


class SelectSettings(Settings):
    """Which of the pinned scenes a cell uses."""

    section: ClassVar[str] = "select"

    max_scenes: int = setting(6, "Most scenes of one MGRS tile.", ge=1, le=100)
    cloud_steps: tuple[Annotated[float, Field(gt=0, le=101)], ...] = setting(
        (1, 11, 21, 31, 41, 51, 61, 71, 81, 91, 101),
        "Cloud limits, rising; scenes below one limit are tried before those below the next.",
        unit="percent",
        min_length=1,
    )
    min_gain: float = setting(
        0.1,
        "A scene is used if it shows at least this fraction of the pixels not seen yet; where scenes run out, less is"
        " enough.",
        ge=0,
        le=1,
    )
    stop_uncovered: float = setting(
        0.01, "No more scenes are added when less than this fraction of the tile is unseen.", ge=0, le=1
    )
    max_left_out: float = setting(
        MAX_LEFT_OUT,
        "Scenes that cannot be used are left out; the run stops if they are more than this fraction of the candidates"
        " of a cell.",
        reruns=False,
        ge=0,
        le=1,
    )
    missing_scl: Literal["clear", "refuse"] = setting(
        "clear", "A scene without classification (SCL) counts as clear wherever it has data, or is refused."
    )

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if list(self.cloud_steps) != sorted(set(self.cloud_steps)):
            raise InputError(
                f"select.cloud_steps must rise from limit to limit (got {list(self.cloud_steps)}).",
                "Sort the limits and remove repeated ones.",
            )
        return self


class CompositeSettings(Settings):
    """How scenes become one image."""

    section: ClassVar[str] = "composite"

    method: Literal["best_first", "mean", "median"] = setting(
        "mean", "Best scene first (the paper), mean (the published program) or median of the clear views."
    )
    dilate_px: int = setting(2, "Pixels by which clouds and shadows are widened.", unit="pixels of 10 m", ge=0, le=50)
    mask: str = setting(
        "scl",
        "What marks clouds and shadows: the scene's own classification (SCL), or OmniCloudMask, which needs the extra"
        " `masks`.",
        choices=("scl", "omnicloudmask"),
        plugins="headwater.imagery.masks:MASKS",
    )
    allow_cloud: bool = setting(
        False, "Where no scene is clear, keep the cloudy views, marked by 0 clear views, instead of nodata."
    )
    max_left_out: float = setting(
        MAX_LEFT_OUT,
        "Scenes whose files turn out to be damaged are left out; the run stops if they are more than this fraction of a"
        " cell's scenes.",
        reruns=False,
        ge=0,
        le=1,
    )
    reader: str = setting(
        "rasterio",
        "Library that reads the scenes; they agree within a quarter of a pixel, and rasterio is fastest.",
        choices=("rasterio", "odc", "stackstac"),
        plugins="headwater.raster.scenes:READERS",
    )
