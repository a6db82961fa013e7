"""Optimisation of studies: convex solver, branch and bound, certificates, prices of limits, relaxations."""
