"""Many processes on one run: which they are, what they tell each other, and how they write a bank together."""
