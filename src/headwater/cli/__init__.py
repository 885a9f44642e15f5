"""The command line: one subcommand a step, named as its rule. It parses arguments and calls a function, no more."""

from headwater.cli.entry import main

__all__ = ["main"]
