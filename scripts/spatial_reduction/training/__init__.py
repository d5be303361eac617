"""Train a network for one iteration."""
