"""Read runs, rank them, draw them, show them."""
