"""Text for people: the streams of the terminal, tables, formatted numbers."""
