"""The report of a run: one self-contained HTML page and the pictures beside it."""
