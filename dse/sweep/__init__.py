"""Sweeps, many evaluations or solved studies: specifications, execution engines, and the store of results."""

from . import results as results
