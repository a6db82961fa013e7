"""What a chip costs to own, how often it fails, and what carbon it carries."""
