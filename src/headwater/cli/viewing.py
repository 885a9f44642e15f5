"""Arguments of `headwater view`."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path

from headwater.cli.arguments import whole


def view(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `headwater view`."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder of a basin's results, results/<basin>")
    parser.add_argument("--port", type=whole(0, 65_535), default=0, help="port to listen on (default: a free one)")

    def run(folder: Path, port: int) -> None:
        from headwater.report.view import view

        # Ctrl-C is how this command ends.
        with suppress(KeyboardInterrupt):
            view(folder, port=port)

    parser.set_defaults(run=run)
