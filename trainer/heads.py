"""What sits on the trunk: the embedding that is searched, and the classifier that teaches it the taxonomy."""

import tensorflow as tf
import tf_keras as keras

# Inverse temperature of the cosine classifier; unscaled cosines cannot make a confident softmax.
COSINE_SCALE = 16.0


def embedding_head(pooled: tf.Tensor, dim: int) -> tf.Tensor:
    """[batch, channels] → [batch, dim] float32, L2-normalised."""
    x = keras.layers.Dense(dim, use_bias=False, name="projection")(pooled)
    return UnitLength(name="embedding")(x)


class UnitLength(keras.layers.Layer):
    """Scales each row to length one, so that the inner product of two is their cosine."""

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[batch, dim] → [batch, dim]."""
        return tf.math.l2_normalize(x, axis=-1)


class CosineClassifier(keras.layers.Layer):
    """Logits as scaled cosines to one learned direction per class (Zhai & Wu 2018, arXiv 1811.12649, eq. 3).

    Classes become directions of the very space that is searched, so that what separates them separates neighbours.
    """

    def __init__(self, num_classes: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def build(self, input_shape: tf.TensorShape) -> None:
        """Makes the [dim, num_classes] directions."""
        self.directions = self.add_weight(
            name="directions", shape=(input_shape[-1], self.num_classes), initializer="glorot_uniform"
        )

    def call(self, embedding: tf.Tensor) -> tf.Tensor:
        """[batch, dim] L2-normalised → [batch, num_classes] logits."""
        return COSINE_SCALE * tf.matmul(embedding, tf.math.l2_normalize(self.directions, axis=0))
