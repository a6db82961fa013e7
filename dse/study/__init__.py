"""Studies: goal, limits, free numbers and discrete choices of a design problem, and its convex core."""
