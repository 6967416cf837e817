"""Affinity graphs: building blocks of them, storing them, and multiplying with them."""
