"""Validation against published measurements, and the fits of calibration numbers to them."""
