"""The names of features, raw and transformed, spelt once."""

# Raw features that code refers to: one tf.Example per image, written by ingest, with every field of an image.
IMAGE = "image"  # canonical JPEG bytes
PRODUCT_ID = "product_id"
CATEGORY = "category"  # path in the taxonomy, '' when unlabelled
LABEL = "label"  # the category when it is a leaf of the taxonomy, else ''
DOMAIN = "domain"  # catalog | wild
SPAN = "span"  # the day the image came, '' when the source has no days
PRICE = "price"  # optional
CANONICAL_SHA256 = "canonical_sha256"  # of IMAGE: equal for images that show the very same picture
ATTRIBUTE_PREFIX = "attr:"  # one optional feature per attribute of the source

# Transformed features: what the trainer sees.
PIXELS = "pixels"  # [size, size, 3] float32 in 0..1, each a multiple of 1/255
LABEL_ID = "label_id"  # index into the label vocabulary, -1 when unlabelled
LABEL_WEIGHT = "label_weight"  # 1 when labelled, else 0

LABEL_VOCABULARY = "labels"

# Signatures of the exported encoder.
EMBED_SIGNATURE = "serving_default"  # image_bytes → embedding
CLASSIFY_SIGNATURE = "classify"  # image_bytes → labels, probabilities (best first)
EVALUATE_SIGNATURE = "evaluate"  # serialised examples → probabilities by label_id
TRANSFORM_SIGNATURE = "transform_features"  # serialised examples → transformed features
IMAGE_BYTES = "image_bytes"
EMBEDDING = "embedding"
PROBABILITIES = "probabilities"
LABELS = "labels"
EXAMPLES = "examples"
