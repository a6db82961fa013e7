"""What a chip and a system can do at best. No time here."""
