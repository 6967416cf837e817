"""The stages of a run: each joins options, run directory and the lower floors, and has one output."""
