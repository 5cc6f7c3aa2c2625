"""The trained model as a SavedModel whose every signature goes through the transform graph."""

import tensorflow as tf
import tensorflow_transform as tft
import tf_keras as keras

from transform import features


class Encoder(tf.Module):
    """What is served: bytes in, embeddings or categories out.

    model: from `trainer.models.embedding.build_model`.
    transform: the output of tf.Transform.
    labels: the category of each label id.
    """

    def __init__(self, model: keras.Model, transform: tft.TFTransformOutput, labels: list[str]) -> None:
        super().__init__()
        self.model = model
        self.transform_layer = transform.transform_features_layer()
        self.labels = tf.constant(labels)
        self._raw_spec = transform.raw_feature_spec()

    def save(self, directory: str) -> None:
        """Writes the SavedModel with its four signatures (names in `transform.features`)."""
        image_bytes = tf.TensorSpec([None], tf.string, name=features.IMAGE_BYTES)
        examples = tf.TensorSpec([None], tf.string, name=features.EXAMPLES)
        signatures = {
            features.EMBED_SIGNATURE: tf.function(self._embed).get_concrete_function(image_bytes),
            features.CLASSIFY_SIGNATURE: tf.function(self._classify).get_concrete_function(image_bytes),
            features.EVALUATE_SIGNATURE: tf.function(self._evaluate).get_concrete_function(examples),
            features.TRANSFORM_SIGNATURE: tf.function(self._transform).get_concrete_function(examples),
        }
        tf.saved_model.save(self, directory, signatures=signatures)

    def _predict(self, raw: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        # The layer computes only what the features it is given allow: pixels need the image alone.
        return self.model(self.transform_layer(raw)[features.PIXELS], training=False)

    def _embed(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {features.EMBEDDING: self._predict({features.IMAGE: image_bytes})["embedding"]}

    def _classify(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        probabilities = tf.nn.softmax(self._predict({features.IMAGE: image_bytes})["logits"])
        best, ids = tf.math.top_k(probabilities, k=probabilities.shape[-1])
        return {features.LABELS: tf.gather(self.labels, ids), features.PROBABILITIES: best}

    def _evaluate(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = tf.io.parse_example(examples, {features.IMAGE: self._raw_spec[features.IMAGE]})
        return {features.PROBABILITIES: tf.nn.softmax(self._predict(raw)["logits"])}

    def _transform(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(self.transform_layer(tf.io.parse_example(examples, self._raw_spec)))
