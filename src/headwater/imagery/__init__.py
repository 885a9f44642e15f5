"""From pinned items to the cloud-free composite of a cell: search, select, composite."""
