"""Everything that needs no TFX: what a product is, how vectors are searched, reviewed, released and measured."""
