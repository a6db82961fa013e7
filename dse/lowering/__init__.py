"""Lowering: a workload under a parallelism plan to operators, traffic and memory. No timing formulas here."""
