"""What jobs ask of a cluster, and what they used."""
