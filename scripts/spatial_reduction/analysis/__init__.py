"""From the tables of all chains to contrasts and a verdict."""
