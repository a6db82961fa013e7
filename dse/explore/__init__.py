"""Analyses that solve a study many times: Pareto fronts, sensitivities, risk, forecasts, back-tests."""
