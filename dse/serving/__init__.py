"""Models in service: engines in steady state, what users see, and the fleet that keeps promises."""
