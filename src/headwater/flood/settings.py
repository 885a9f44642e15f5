"""Settings of the flood commands."""

from __future__ import annotations

from typing import ClassVar, Literal

from headwater.core.settings import Settings, setting
from headwater.flood.hidden_markov import LIMIT


class TreeSettings(Settings):
    """How terrain and classes depend on each other."""

    section: ClassVar[str] = "flood"

    tree: Literal["hmct", "hmt"] = setting(
        "hmct",
        "hmct: each branch of the contour tree floods for itself; hmt: a flooded pixel floods all that is connected"
        " below its height.",
    )
    epsilon: float = setting(
        0.001, "Probability that a pixel whose lower neighbors in the tree are all flooded is dry.", gt=0, lt=1
    )
    prior: float = setting(
        0.5,
        "Share of flood: of the lowest pixels, where a tree begins, and for postprocess the share that the classifier"
        " assumes.",
        gt=0,
        lt=1,
    )
    collapse: bool = setting(
        False, "Join equally high neighbors of the tree to one node, for elevation in whole meters."
    )


class HmtSettings(TreeSettings):
    """How a tree learns from an image and few labels."""

    max_iterations: int = setting(10, "Most iterations of learning.", ge=1, le=1000)
    tolerance: float = setting(
        0.001, "Learning ends where no parameter changes by more than this share of its size.", gt=0, le=1
    )


class PostprocessSettings(TreeSettings):
    """How far a classifier is believed against the terrain."""

    clip: float = setting(
        LIMIT,
        "Probabilities nearer to 0 or 1 are moved there, so that no pixel wins against its terrain alone.",
        gt=0,
        lt=0.5,
    )
    temperature: float = setting(
        1.0, "The classifier's log-odds are divided by it: above 1 it is believed less.", gt=0, le=1000
    )
