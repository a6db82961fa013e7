"""What work a model demands. No bytes per second here."""
