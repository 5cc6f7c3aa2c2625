"""What a product is: images, taxonomy, sources, splits; no TensorFlow and no Beam."""
