import logging

import pytest

from trainer.progress import TrainingProgress


def test_the_bar_counts_steps_over_epochs_and_tells_how_they_went(caplog) -> None:
    progress = TrainingProgress(epochs=2, steps_per_epoch=3)
    with progress.bar, caplog.at_level(logging.INFO):
        progress.on_train_begin()
        for epoch in range(2):
            progress.on_epoch_begin(epoch)
            for batch in range(3):
                progress.on_train_batch_end(batch)
            progress.on_epoch_end(epoch, {"loss": 1.25, "val_recall_at_1": 0.5})
        [task] = progress.bar.tasks
        assert (task.completed, task.total, task.finished) == (6, 6, True)
    assert caplog.messages == ["epoch 1/2: loss 1.250, recall@1 0.500", "epoch 2/2: loss 1.250, recall@1 0.500"]


def test_a_resumed_training_starts_where_it_stopped() -> None:
    progress = TrainingProgress(epochs=4, steps_per_epoch=10)
    progress.on_train_begin()
    progress.on_epoch_begin(2)
    assert progress.bar.tasks[0].completed == 20


def test_the_terminal_is_left_in_order_when_training_fails() -> None:
    progress = TrainingProgress(epochs=1, steps_per_epoch=1)
    with pytest.raises(ZeroDivisionError), progress.bar:
        _ = 1 / (not progress.bar.live.is_started)
    assert not progress.bar.live.is_started
