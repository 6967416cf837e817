"""Many processes on one run: what they tell each other, and which part of the graph each of them owns."""
