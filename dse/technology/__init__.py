"""What physics and the fab charge per bit, FLOP and mm2. No particular chip here."""
