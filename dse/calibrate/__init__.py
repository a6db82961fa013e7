"""How far the model is from the world, and the few numbers per chip family that bring it closer."""
