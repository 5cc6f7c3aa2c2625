"""Tables of rows and cells, whichever program wrote them."""
