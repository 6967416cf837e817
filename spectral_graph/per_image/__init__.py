"""One photo at a time (section 3.2 of the paper): every head of every attention layer is a graph over its patches."""
