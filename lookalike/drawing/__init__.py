"""A drawn catalogue's pictures: shapes, patterns and materials make a product; studio and wild photos show it."""
