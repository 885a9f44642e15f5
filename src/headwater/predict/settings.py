"""Settings of the prediction."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from headwater.core.errors import InputError
from headwater.core.secrets import has_credentials
from headwater.core.settings import Settings, setting
from headwater.core.texts import FileName

PUBLISHED_RASTERS = "https://data.source.coop/fika/waternet/raster"
"""Address of WaterNet's published rasters, one Cloud-Optimized GeoTIFF for each square of the web's grid at zoom 6."""


class PredictSettings(Settings):
    """The network and how it is run."""

    section: ClassVar[str] = "predict"

    # Which files a job reads: its rule passes them, so that a new setting reruns no prediction.
    source: Literal["network", "published"] = setting(
        "network",
        "Where the probability comes from: the network, out of composite and elevation; or published rasters, for which"
        " neither scenes nor composites are made and the other keys of this section have no effect.",
        is_file=True,
        reruns_from="search and predict",
    )
    published: FileName = setting(
        PUBLISHED_RASTERS,
        "Address (http or https) or folder of the published rasters {x}_{y}.tif, for source published.",
        is_file=True,
        reruns_from="predict",
    )
    checkpoint: FileName | Annotated[tuple[FileName, ...], Field(min_length=1)] | None = setting(
        None,
        "Checkpoint (.safetensors with its .json next to it), or a list of them whose mean is used; waternet is"
        " the published one of the data folder (`headwater models fetch waternet`); null uses the two that come with"
        " Headwater.",
        is_file=True,
    )
    # 832 px: docs/explanation/method.md, Ten channels. 208 px: chosen with benchmarks/seams.py (docs/benchmarks.md).
    tile_px: int = setting(832, "Side of a prediction tile.", unit="pixels of 10 m", ge=64, le=4096, multiple_of=32)
    overlap_px: int = setting(
        208,
        "Least overlap of neighboring tiles; at most half a tile.",
        unit="pixels of 10 m",
        ge=0,
        le=2048,
    )
    device: str = setting(
        "auto",
        "Where to compute: auto uses a GPU if there is one; or cpu, cuda, cuda:1.",
        reruns=False,
        form="auto, cpu, cuda or cuda:1",
        pattern="^(auto|cpu|cuda(:[0-9]+)?)$",
    )
    batch_size: int = setting(
        0,
        "Tiles predicted at the same time; 0 is one on the CPU and as many as fit on a GPU. Halved where memory is too"
        " small.",
        unit="tiles",
        reruns=False,
        ge=0,
        le=256,
    )
    dtype: Literal["auto", "float32", "bf16", "fp16"] = setting(
        "auto",
        "What the network computes in; auto is 16 bits on a GPU (fp16 for WaterNet, bf16 for others) and float32 on the"
        " CPU.",
    )
    compile: bool = setting(
        False,
        "Compile the network before use (torch.compile), which takes a minute or more in each job.",
        reruns=False,
    )
    # One thread for each tile: the order of sums within a network, and so the last bits, depends on its threads.
    threads: int = setting(
        1,
        "Tiles computed in parallel on the CPU within a cell; the bytes are the same.",
        unit="threads",
        reruns=False,
        ge=1,
        le=256,
    )
    tta: bool = setting(False, "Use the mean over the eight symmetries of the square, at eight times the cost.")
    max_missing: float | None = setting(
        None,
        "Largest fraction of missing pixels of a tile that is predicted; null uses the checkpoint's (half).",
        ge=0,
        le=1,
    )

    @model_validator(mode="after")
    def _check_published(self) -> Self:
        check_published(self.published)
        return self

    @model_validator(mode="after")
    def _check_overlap(self) -> Self:
        if 2 * self.overlap_px > self.tile_px:
            raise InputError(
                f"predict.overlap_px must be at most half of predict.tile_px, {self.tile_px // 2}"
                f" (got {self.overlap_px}).",
                "Reduce the overlap or use larger tiles.",
            )
        return self


def check_published(place: str) -> None:
    """Refuse a place of published rasters that is neither a plain address nor a folder's name.

    Raises
    ------
    InputError
        It has a password, a key or a query, or is an address of another kind.
    """
    if has_credentials(place) or ("://" in place and set("?#") & set(place)):
        raise InputError(
            "predict.published has a user, a key or a query, but names of files are appended to it.",
            "Give the address of their folder alone.",
        )
    if "://" in place and not place.startswith(("http://", "https://")):
        raise InputError(
            f"predict.published is an address of {place.partition('://')[0]}.", "Give an http(s) address, or a folder."
        )
