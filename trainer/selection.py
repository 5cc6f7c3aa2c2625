"""Which epoch is kept: the one with the best validation recall@1, across interruptions too."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import tf_keras as keras

from lookalike.documents import read_document
from lookalike.errors import UserError


class TrainingDivergedError(UserError, code="TRAINING_DIVERGED"):
    """The loss became NaN or infinite; nothing is exported."""


class CheckpointsDamagedError(UserError, code="CHECKPOINTS_DAMAGED"):
    """What an interrupted training left to go on from cannot be read."""


class BestEpoch(keras.callbacks.Callback):
    """Measures every epoch, keeps the best weights on disk, and stops when nothing gets better.

    What it knows lives in `directory`, so that a restarted run remembers the best epoch of the one before.

    measure: the validation recall@1 of the model as it stands.
    directory: of best.weights.h5 and history.json.
    patience: epochs without a better one before training stops.

    Raises CheckpointsDamagedError: `directory` does not say how the epochs before went.
    """

    def __init__(self, measure: Callable[[], float], directory: Path, patience: int) -> None:
        super().__init__()
        self._measure = measure
        self._weights = directory / "best.weights.h5"
        self._history = directory / "history.json"
        self._patience = patience
        self.history: list[float] = _read_history(self._history)

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Stops the run at the first loss that is no number."""
        if not math.isfinite(logs["loss"]):
            raise TrainingDivergedError(f"expected a finite loss, got {logs['loss']} at batch {batch} of the epoch")

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Measures, and keeps the weights if they are the best so far."""
        recall = self._measure()
        logs["val_recall_at_1"] = recall  # for TensorBoard and the progress bar
        del self.history[epoch:]
        if recall > max(self.history, default=-1.0):
            _write_whole(self._weights, self.model.save_weights)
        self.history.append(recall)
        _write_whole(self._history, lambda path: Path(path).write_text(json.dumps(self.history)))
        self.model.stop_training = self._is_patience_used_up

    def is_over(self, epochs: int) -> bool:
        """Whether there is nothing left to train: every epoch was measured, or patience is used up."""
        return len(self.history) >= epochs or self._is_patience_used_up

    @property
    def _is_patience_used_up(self) -> bool:
        return bool(self.history) and len(self.history) - 1 - self.best_epoch >= self._patience

    @property
    def best_epoch(self) -> int:
        """The first of the best epochs, counted from 0."""
        return self.history.index(max(self.history))

    def restore_best(self, model: keras.Model) -> None:
        """Gives the model the weights of the best epoch."""
        model.load_weights(self._weights)


def _read_history(path: Path) -> list[float]:
    if not path.exists():
        return []
    try:
        return read_document(list[float], path.read_bytes())
    except ValueError as error:
        raise CheckpointsDamagedError(
            f"{path} must hold the recall@1 of each epoch so far, but {error}; delete the folder {path.parent}: the "
            "training then starts anew"
        ) from error


def _write_whole(path: Path, write: Callable[[str], object]) -> None:
    """Writes beside the file and renames, so that a kill leaves the old one or the new one."""
    partial = path.with_name(f"partial.{path.name}")
    write(str(partial))
    partial.replace(path)
