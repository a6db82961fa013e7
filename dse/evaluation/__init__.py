"""Evaluation of a workload on a system: calibration, plan search, memory check, step time, energy, throttling."""
