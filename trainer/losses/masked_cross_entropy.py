"""Cross-entropy over the taxonomy's leaves in which unlabelled images have no say."""

import tensorflow as tf


def masked_cross_entropy(label_ids: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    """The mean cross-entropy of the labelled rows, with label smoothing (Szegedy et al. 2015, arXiv 1512.00567, §7).

    A missing label weighs 0 (Parekh et al. 2021, arXiv 2107.08215), so its gradient is exactly 0.

    label_ids: [batch] int64, -1 where missing.
    logits: [batch, num_classes] float32.
    smoothing: the probability spread over all classes.

    Returns a scalar; 0 when nothing in the batch is labelled.
    """
    num_classes = logits.shape[-1]
    # one_hot(-1) is a row of zeros, so that row's cross-entropy vanishes; its smoothing has to be masked too.
    labelled = tf.cast(label_ids >= 0, tf.float32)
    targets = tf.one_hot(label_ids, num_classes) * (1.0 - smoothing) + smoothing / num_classes
    losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
    return tf.math.divide_no_nan(tf.reduce_sum(losses * labelled), tf.reduce_sum(labelled))
