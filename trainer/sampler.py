"""Which images go into which batch: balanced over classes, in pairs of one product.

Pure numpy. A batch depends on (seed, epoch) alone, so a resumed run sees the batches an unbroken one would have.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ids = npt.NDArray[np.int64]


class BalancedSampler:
    """Batches in which every class has the same share, and every product brings two images where it has them.

    Images without a label (-1) are one more class. A product with one image is paired with another of its class.

    label_ids: [num_images] int64.
    product_ids: [num_images] int64.
    batch_size: even.
    seed: of everything.
    """

    def __init__(self, label_ids: Ids, product_ids: Ids, batch_size: int, seed: int) -> None:
        if batch_size % 2:
            raise ValueError(f"batch_size must be even, images come in pairs, got {batch_size}")
        if not len(label_ids):
            raise ValueError("expected at least one training image, got 0")
        self._batch_size = batch_size
        self._seed = seed
        self._images_of = _group(np.arange(len(label_ids)), by=product_ids)
        self._products_of = {
            int(label): np.unique(product_ids[images])
            for label, images in _group(np.arange(len(label_ids)), by=label_ids).items()
        }

    def epoch(self, epoch: int, num_batches: int) -> Iterator[Ids]:
        """`num_batches` times [batch_size] indices of images."""
        rng = np.random.default_rng((self._seed, epoch))
        pairs = self._batch_size // 2
        classes = _balanced(np.array(sorted(self._products_of)), num_batches * pairs, rng)
        turns = {label: _turns(products, rng) for label, products in self._products_of.items()}
        for batch in classes.reshape(num_batches, pairs):
            yield np.concatenate([self._pair(turns[int(label)], rng) for label in batch])

    def _pair(self, products: Iterator[int], rng: np.random.Generator) -> Ids:
        images = self._images_of[next(products)]
        if len(images) > 1:
            return rng.choice(images, 2, replace=False)
        return np.array([images[0], rng.choice(self._images_of[next(products)])])


def _group(values: Ids, by: Ids) -> dict[int, Ids]:
    order = np.argsort(by, kind="stable")
    keys, starts = np.unique(by[order], return_index=True)
    return dict(zip(keys.tolist(), np.split(values[order], starts[1:]), strict=True))


def _turns(products: Ids, rng: np.random.Generator) -> Iterator[int]:
    """Each product once, in random order, then each once more: a batch seldom holds one twice by accident."""
    last = None
    while True:
        order = rng.permutation(products).tolist()
        if order[0] == last:  # never the same one twice running
            order = order[1:] + order[:1]
        yield from order
        last = order[-1]


def _balanced(classes: Ids, count: int, rng: np.random.Generator) -> Ids:
    """`count` draws in which no class is more than one ahead of another."""
    rounds = -(-count // len(classes))
    return np.concatenate([rng.permutation(classes) for _ in range(rounds)])[:count]
