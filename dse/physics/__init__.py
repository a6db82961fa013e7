"""Step time, energy, power, area and cost of a demand on a chip, in JAX: posynomials of the chip's numbers."""
