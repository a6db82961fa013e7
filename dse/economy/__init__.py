"""Cost of ownership (TCO), rents, failures and goodput, carbon."""
