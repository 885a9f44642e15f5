"""Arguments of `headwater flood`: flood maps that water obeys."""

from __future__ import annotations

import argparse
from pathlib import Path

from headwater.cli.arguments import add_out
from headwater.cli.options import Values, add_settings, given


def flood(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater flood`."""
    # Only this command's help needs the models: their library takes a while to load.
    from headwater.core.settings import rules_of
    from headwater.flood.settings import HmtSettings, PostprocessSettings

    verbs = parser.add_subparsers(metavar="VERB", required=True)
    repair = verbs.add_parser("postprocess", help="repair a classifier's map of a flood by the terrain")
    repair.add_argument("--probability", type=Path, required=True, help="probability of flood of any classifier")
    _rest(repair)
    add_settings(repair, "flood", rules=rules_of(PostprocessSettings))

    def run_postprocess(
        probability: Path, elevation: Path, out: Path, probability_out: Path | None, values: Values | None
    ) -> None:
        from headwater.flood.steps import postprocess

        settings = given(PostprocessSettings, values)
        postprocess(probability, elevation, out, settings=settings, probability_out=probability_out)

    repair.set_defaults(run=run_postprocess)

    learn = verbs.add_parser("hmt", help="map a flood from an image, its elevation and few labels")
    learn.add_argument("--image", type=Path, required=True, help="image of the flood; all its bands are features")
    learn.add_argument("--labels", type=Path, required=True, help="1 flood, 0 dry, anything else unknown")
    _rest(learn)
    add_settings(learn, "flood", rules=rules_of(HmtSettings))

    def run_hmt(
        image: Path, elevation: Path, labels: Path, out: Path, probability_out: Path | None, values: Values | None
    ) -> None:
        from headwater.flood.steps import hmt

        settings = given(HmtSettings, values)
        hmt(image, elevation, labels, out, settings=settings, probability_out=probability_out)

    learn.set_defaults(run=run_hmt)

    grow = verbs.add_parser("spread", help="spread few labels along the terrain: flood downward, dry upward")
    grow.add_argument("--labels", type=Path, required=True, help="1 flood, 0 dry, anything else unknown")
    grow.add_argument("--elevation", type=Path, required=True, help="meters, on the same grid")
    add_out(grow, "labels (1 flood, 0 dry, 255 unknown; COG)")

    def run_spread(labels: Path, elevation: Path, out: Path) -> None:
        from headwater.flood.steps import spread

        spread(labels, elevation, out)

    grow.set_defaults(run=run_spread)

    judge = verbs.add_parser("score", help="score flood maps over labeled pixels, for flood and dry, by region")
    judge.add_argument("--map", dest="found", type=Path, nargs="+", required=True, help="map of each region")
    judge.add_argument("--labels", type=Path, nargs="+", required=True, help="labels of each region")
    judge.add_argument("--out", type=Path, help="CSV to write")

    def run_score(found: list[Path], labels: list[Path], out: Path | None) -> None:
        from headwater.flood.steps import score

        score(found, labels, out)

    judge.set_defaults(run=run_score)


def _rest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--elevation", type=Path, required=True, help="meters, on the same grid")
    add_out(parser, "labels (1 flood, 0 dry, 255 unknown; COG)")
    parser.add_argument("--probability-out", type=Path, help="probability of flood, given the terrain, to write (COG)")
