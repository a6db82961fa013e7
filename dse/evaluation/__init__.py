"""The one assembly: calibration, plan search, fit, time, energy and throttling of a workload on a system."""
