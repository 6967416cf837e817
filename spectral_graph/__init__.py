"""spectral_graph: streaming spectral graphs over the attention layers of vision models."""

__version__ = "0.1.0"
