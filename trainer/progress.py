"""Training as it goes on, told by a logger alone: whoever runs it, in a terminal or a cluster, shows what it likes."""

import logging
import time
from datetime import timedelta

import tf_keras as keras

log = logging.getLogger(__name__)

_TOLD = "epoch %(epoch)d/%(epochs)d: loss %(loss).3f, recall@1 %(recall_at_1)s, %(left)s left"


class TrainingProgress(keras.callbacks.Callback):
    """Logs each step at DEBUG and each epoch at INFO, in the same words.

    A record's `args` are its values by name: step of steps, both over all epochs; epoch of epochs; loss; recall_at_1,
    the last epoch's validation recall@1 as text; left, the time at most, for training may stop early.

    epochs: in the whole training.
    steps_per_epoch: batches in an epoch.
    """

    def __init__(self, epochs: int, steps_per_epoch: int) -> None:
        super().__init__()
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._epoch = 0
        self._recall_at_1 = "–"
        self._times_s: list[float] = []  # at the end of each step that was taken here

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Notes where the epoch starts, which after a resumption is not at 0."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Tells the step."""
        self._times_s.append(time.monotonic())
        self._tell(logging.DEBUG, self._epoch * self._steps_per_epoch + batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Tells how the epoch went."""
        self._recall_at_1 = f"{logs['val_recall_at_1']:.3f}"
        self._tell(logging.INFO, (epoch + 1) * self._steps_per_epoch, logs)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Tells that no step is left, also where training stopped early."""
        steps = self._epochs * self._steps_per_epoch
        log.debug("training is over: step %(step)d of %(steps)d", {"step": steps, "steps": steps})

    def _tell(self, level: int, step: int, logs: dict) -> None:
        steps = self._epochs * self._steps_per_epoch
        values = {
            "step": step,
            "steps": steps,
            "epoch": self._epoch + 1,
            "epochs": self._epochs,
            "loss": logs["loss"],
            "recall_at_1": self._recall_at_1,
            "left": self._left(steps - step),
        }
        log.log(level, _TOLD, values)

    def _left(self, steps: int) -> str:
        """The time that steps will take, by those after the first, which waits for TensorFlow to compile."""
        if len(self._times_s) < 2:
            return "–"
        pace_s = (self._times_s[-1] - self._times_s[0]) / (len(self._times_s) - 1)
        return str(timedelta(seconds=round(pace_s * steps)))
