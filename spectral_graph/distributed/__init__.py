"""Several processes on one run: their ranks, their communication, and the bank that they write together."""
