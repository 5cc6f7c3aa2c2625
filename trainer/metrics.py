"""What decides between epochs: retrieval on the validation images."""

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tf_keras as keras

from lookalike.retrieval.ground_truth import RetrievalTable
from lookalike.retrieval.headline import NothingToMeasureError, headline
from lookalike.retrieval.metrics import evaluate_retrieval
from trainer.data import ImageSet
from trainer.selection import TrainingDivergedError

EMBED_BATCH = 64
MAX_TRAINING_GALLERY = 2048


def embed(model: keras.Model, images: ImageSet) -> npt.NDArray[np.float32]:
    """[num_images, dim] float32, L2-normalised embeddings of unaugmented images.

    Raises TrainingDivergedError: when one is not finite, as the last step of an epoch may bring about.
    """
    blocks = (images.pixels[start : start + EMBED_BATCH] for start in range(0, len(images.pixels), EMBED_BATCH))
    batches = (tf.image.convert_image_dtype(block, tf.float32) for block in blocks)
    embeddings = np.concatenate([model(pixels, training=False)["embedding"].numpy() for pixels in batches])
    if not np.isfinite(embeddings).all():
        raise TrainingDivergedError("expected finite embeddings, got some that are NaN or infinite")
    return embeddings


def validation_recall_at_1(model: keras.Model, images: ImageSet, training: ImageSet | None = None) -> float:
    """recall@1 of the validation images among their own kind, by product where they have one, else by category.

    training: searched as well where validation is so small that no image of it answers another; at most
      MAX_TRAINING_GALLERY of it.
    Raises NothingToMeasureError.
    """
    embeddings = embed(model, images)
    try:
        return _recall_at_1(embeddings, images.table, embeddings, images.table)
    except NothingToMeasureError:
        if training is None:
            raise
    others = training.first(MAX_TRAINING_GALLERY)
    return _recall_at_1(embeddings, images.table, embed(model, others), others.table)


def _recall_at_1(
    queries: npt.NDArray[np.float32], asked: RetrievalTable, gallery: npt.NDArray[np.float32], known: RetrievalTable
) -> float:
    return headline(evaluate_retrieval(queries, gallery, asked, known, num_resamples=1).metrics).recall_at_1
