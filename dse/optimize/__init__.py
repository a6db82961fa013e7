"""Which free numbers are best, and the proof."""
