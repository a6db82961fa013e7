"""Many solutions of one study: fronts, sensitivities, risk, back-tests."""
