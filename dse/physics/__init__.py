"""How long a step takes, how many bytes and FLOP it moves, and what bound it."""
