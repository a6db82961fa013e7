"""Who does which part of the work, and where. No timing formulas here."""
