"""Tiles in, blended probability out: networks run over a cell, a band of tiles at a time. Arrays only, no files."""

from __future__ import annotations

from headwater.predict.arrays import predict_probability, quantise
from headwater.predict.bands import Options, predict_bands
from headwater.predict.blending import WINDOWS, blend_weights
from headwater.predict.devices import THREADS, gpus, resolve_device, resolve_dtype
from headwater.predict.members import Member, at_scale
from headwater.predict.tiling import OVERLAP_PX

__all__ = [
    "OVERLAP_PX",
    "THREADS",
    "WINDOWS",
    "Member",
    "Options",
    "at_scale",
    "blend_weights",
    "gpus",
    "predict_bands",
    "predict_probability",
    "quantise",
    "resolve_device",
    "resolve_dtype",
]
