"""Files: published whole, checked, memory-mapped, locked."""
