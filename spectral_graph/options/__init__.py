"""Options as they are typed, and what they may be."""
