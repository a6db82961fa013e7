"""Foundations without domain knowledge: units, receipts, smooth maxima, errors, files, text."""
