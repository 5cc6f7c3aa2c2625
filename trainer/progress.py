"""A progress bar over training steps, and the same as log lines where nobody watches."""

import logging

import tf_keras as keras
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

log = logging.getLogger(__name__)


class TrainingProgress(keras.callbacks.Callback):
    """Shows the epoch, the step, the loss and the validation recall@1 so far.

    Args:
      epochs: in the whole training.
      steps_per_epoch: batches in an epoch.

    Attributes:
      bar: a context manager to train in, which leaves the terminal in order however training ends.
    """

    def __init__(self, epochs: int, steps_per_epoch: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}"),
            TimeRemainingColumn(),
            transient=True,
        )

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Starts to count."""
        self._task = self.bar.add_task("steps", total=self._epochs * self._steps_per_epoch)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Puts the bar where the epoch starts, which after a resumption is not at 0."""
        self.bar.update(self._task, completed=epoch * self._steps_per_epoch)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Moves the bar on."""
        self.bar.advance(self._task)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Tells how the epoch went."""
        told = f"epoch {epoch + 1}/{self._epochs}: loss {logs['loss']:.3f}, recall@1 {logs['val_recall_at_1']:.3f}"
        self.bar.update(self._task, description=told)
        log.info(told)
