"""What is wanted and what is forbidden."""
