"""How the methods that are clustered and scored side by side are called in tables."""

from __future__ import annotations

BASELINE = "final"
TITLES = {"vv": "V-V", "qk": "Q-K", "kk": "K-K", BASELINE: "K-means on final features"}
