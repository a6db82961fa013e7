"""How numbers are written: units, receipts, smooth maxima, errors. No domain words here."""
