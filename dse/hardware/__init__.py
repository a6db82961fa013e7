"""Records of chips and systems: peak rates, capacities, topology. No timing formulas here."""
