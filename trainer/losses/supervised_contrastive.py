"""Pulls the images of one product together and pushes other products away, within a batch.

Khosla et al. 2020, "Supervised Contrastive Learning", arXiv 2004.11362, equation 2 (L_out). The products of the
batch are the only classes: there is nothing to store per product, so millions of them cost nothing.
"""

import tensorflow as tf


def supervised_contrastive(product_ids: tf.Tensor, embedding: tf.Tensor, temperature: float) -> tf.Tensor:
    """The mean loss over the batch, to which an image without another of its product adds nothing.

    So a catalogue of single images is not taught to tell them apart by the few that meet themselves in a batch.

    product_ids: [batch] int64.
    embedding: [batch, dim] float32, L2-normalised.
    temperature: divides the cosines.

    Returns a scalar; 0 when no product occurs twice.
    """
    itself = tf.eye(tf.shape(embedding)[0], dtype=tf.bool)
    positive = tf.logical_and(product_ids[:, None] == product_ids[None, :], tf.logical_not(itself))
    positive = tf.cast(positive, tf.float32)
    similarity = tf.matmul(embedding, embedding, transpose_b=True) / temperature
    similarity = tf.where(itself, float("-inf"), similarity)
    log_probability = similarity - tf.reduce_logsumexp(similarity, axis=1, keepdims=True)
    log_probability = tf.where(itself, 0.0, log_probability)  # -inf · 0 would be NaN
    positives = tf.reduce_sum(positive, axis=1)
    return tf.reduce_mean(-tf.math.divide_no_nan(tf.reduce_sum(positive * log_probability, axis=1), positives))
