"""The steps of the workflow: files in, files out. One module a step, named as its rule and its subcommand."""
