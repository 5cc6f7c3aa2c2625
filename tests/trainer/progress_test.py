import logging
from itertools import count
from typing import Any

import pytest

from trainer.progress import TrainingProgress


def train(progress: TrainingProgress, epochs: range, steps_per_epoch: int) -> None:
    """What Keras calls back with; the validation of an epoch comes out as 0.1 times its number."""
    for epoch in epochs:
        progress.on_epoch_begin(epoch)
        for batch in range(steps_per_epoch):
            progress.on_train_batch_end(batch, {"loss": 1.25})
        progress.on_epoch_end(epoch, {"loss": 1.25, "val_recall_at_1": (epoch + 1) / 10})


@pytest.fixture
def one_second_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that is asked after each step: the first took 100 s, for TensorFlow compiled."""
    clock = count(100)
    monkeypatch.setattr("trainer.progress.time.monotonic", lambda: float(next(clock)))


def test_every_epoch_is_one_line_with_loss_recall_and_time_left(
    caplog: pytest.LogCaptureFixture, one_second_a_step: None
) -> None:
    with caplog.at_level(logging.INFO, logger="trainer.progress"):
        train(TrainingProgress(epochs=40, steps_per_epoch=3), range(2), 3)
    assert caplog.messages == [
        "epoch 1/40: loss 1.250, recall@1 0.100, 0:01:57 left",
        "epoch 2/40: loss 1.250, recall@1 0.200, 0:01:54 left",
    ]


def test_every_step_carries_its_values_for_a_bar(caplog: pytest.LogCaptureFixture, one_second_a_step: None) -> None:
    with caplog.at_level(logging.DEBUG, logger="trainer.progress"):
        train(TrainingProgress(epochs=2, steps_per_epoch=3), range(2), 3)
    values: list[Any] = [record.args for record in caplog.records]
    assert [(one["step"], one["steps"]) for one in values] == [(step, 6) for step in (1, 2, 3, 3, 4, 5, 6, 6)]
    assert caplog.messages[0] == "epoch 1/2: loss 1.250, recall@1 –, – left", "nothing is measured yet"
    assert caplog.messages[1] == "epoch 1/2: loss 1.250, recall@1 –, 0:00:04 left"
    assert caplog.messages[4] == "epoch 2/2: loss 1.250, recall@1 0.100, 0:00:02 left"


def test_a_resumed_training_counts_from_where_it_stopped_and_its_pace_from_now(
    caplog: pytest.LogCaptureFixture, one_second_a_step: None
) -> None:
    with caplog.at_level(logging.DEBUG, logger="trainer.progress"):
        train(TrainingProgress(epochs=4, steps_per_epoch=10), range(2, 3), 2)
    second: Any = caplog.records[1].args
    assert (second["step"], second["steps"]) == (22, 40)
    assert caplog.messages[1].endswith(" 0:00:18 left"), "one second for each of the steps that are left"


def test_a_training_that_stops_early_leaves_no_step_open(caplog: pytest.LogCaptureFixture) -> None:
    progress = TrainingProgress(epochs=4, steps_per_epoch=10)
    with caplog.at_level(logging.DEBUG, logger="trainer.progress"):
        train(progress, range(2), 2)
        progress.on_train_end()
    last = caplog.records[-1]
    assert (last.getMessage(), last.args) == ("training is over: step 40 of 40", {"step": 40, "steps": 40})
