"""How many mm2, watts and dollars."""
