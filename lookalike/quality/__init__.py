"""How good is it, and compared with what."""
