"""How products resemble one another before any model: the engineered channels."""
