"""Many evaluations: sweep specifications, engines and the store of their results."""

from . import results as results
