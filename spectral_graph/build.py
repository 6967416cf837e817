"""`python -m spectral_graph.build`: all stages, from images to the report."""

from __future__ import annotations

import sys

from spectral_graph.cli.entry import main

if __name__ == "__main__":
    sys.exit(main(["build", *sys.argv[1:]], program="python -m spectral_graph.build"))
