"""The run directory, and every reader of the JSON that it holds."""
