"""The dress benchmark of privfed as a Flower app."""
