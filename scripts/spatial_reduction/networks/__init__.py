"""The networks, their file, and how they are asked for a prediction."""
