"""Output of results: tables, JSON, figures and HTML pages."""
