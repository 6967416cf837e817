"""`python -m spectral_graph.cli`: the program `spectral-graph`, for launchers that start modules."""

from __future__ import annotations

import sys

from spectral_graph.cli.entry import main

if __name__ == "__main__":
    sys.exit(main())
