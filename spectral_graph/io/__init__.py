"""Reading and writing files: published whole, checked, memory-mapped, locked."""
