from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras

from trainer.selection import BestEpoch, CheckpointsDamagedError, TrainingDivergedError


class Measured(BestEpoch):
    """Measures the given recalls in turn."""

    def __init__(self, recalls: list[float], directory: Path, patience: int) -> None:
        super().__init__(iter(recalls).__next__, directory, patience)


class MarkEpoch(keras.callbacks.Callback):
    """Leaves the number of the epoch in the only weight, so that weights tell which epoch they are of."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.model.set_weights([np.array([[float(epoch)]], np.float32)])


@pytest.fixture
def model() -> keras.Model:
    model = keras.Sequential([keras.layers.Dense(1, use_bias=False, input_shape=(1,))])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def train(model: keras.Model, best: BestEpoch, *, epochs: int, start: int = 0, target: float = 0.0) -> None:
    data = np.ones((2, 1)), np.full((2, 1), target)
    model.fit(*data, epochs=epochs, initial_epoch=start, callbacks=[MarkEpoch(), best], verbose=0)


def weight(model: keras.Model) -> float:
    return float(model.get_weights()[0][0, 0])


def test_weights_of_the_best_epoch_come_back(model, tmp_path) -> None:
    best = Measured([0.1, 0.5, 0.3], tmp_path, patience=9)
    train(model, best, epochs=3)
    assert weight(model) == 2.0
    best.restore_best(model)
    assert weight(model) == 1.0
    assert best.best_epoch == 1
    assert best.history == [0.1, 0.5, 0.3]


def test_of_equal_epochs_the_first_is_kept(model, tmp_path) -> None:
    best = Measured([0.2, 0.5, 0.5], tmp_path, patience=9)
    train(model, best, epochs=3)
    best.restore_best(model)
    assert weight(model) == best.best_epoch == 1


def test_an_epoch_that_finds_nothing_is_kept_when_no_other_is_better(model, tmp_path) -> None:
    best = Measured([0.0, 0.0], tmp_path, patience=9)
    train(model, best, epochs=2)
    best.restore_best(model)
    assert weight(model) == 0.0


@pytest.mark.parametrize(
    ("recalls", "patience", "trained"),
    [
        ([0.5, 0.4, 0.4, 0.9], 2, 3),
        ([0.5, 0.4, 0.6, 0.5, 0.5, 0.9], 2, 5),
        ([0.5, 0.5, 0.9], 1, 2),  # as good as before is not better
        ([0.1, 0.2, 0.3, 0.4], 1, 4),
    ],
)
def test_training_stops_when_patience_is_used_up(model, tmp_path, recalls, patience: int, trained: int) -> None:
    best = Measured(recalls, tmp_path, patience)
    assert not best.is_over(len(recalls))
    train(model, best, epochs=len(recalls))
    assert best.history == recalls[:trained]
    assert best.is_over(len(recalls))
    assert Measured([], tmp_path, patience).is_over(len(recalls))


def test_a_restarted_run_remembers_the_best_epoch(model, tmp_path) -> None:
    train(model, Measured([0.1, 0.8], tmp_path, patience=9), epochs=2)
    resumed = Measured([0.5, 0.6], tmp_path, patience=9)
    assert not resumed.is_over(4)
    train(model, resumed, epochs=4, start=2)
    assert resumed.history == [0.1, 0.8, 0.5, 0.6]
    resumed.restore_best(model)
    assert weight(model) == 1.0


def test_patience_goes_on_counting_after_a_restart(model, tmp_path) -> None:
    train(model, Measured([0.8, 0.1], tmp_path, patience=3), epochs=2)
    resumed = Measured([0.1, 0.1, 0.9], tmp_path, patience=3)
    train(model, resumed, epochs=5, start=2)
    assert resumed.history == [0.8, 0.1, 0.1, 0.1]


def test_an_epoch_that_is_trained_again_is_measured_again(model, tmp_path) -> None:
    # Killed after the history was written and before the backup was: epoch 1 comes a second time.
    train(model, Measured([0.1, 0.8], tmp_path, patience=9), epochs=2)
    resumed = Measured([0.7, 0.2], tmp_path, patience=9)
    train(model, resumed, epochs=3, start=1)
    assert resumed.history == [0.1, 0.7, 0.2]
    resumed.restore_best(model)
    assert weight(model) == 1.0


def test_the_measure_is_told_to_later_callbacks(model, tmp_path) -> None:
    told = []
    best = Measured([0.25], tmp_path, patience=9)
    later = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: told.append(logs["val_recall_at_1"]))
    model.fit(np.ones((2, 1)), np.ones((2, 1)), callbacks=[best, later], verbose=0)
    assert told == [0.25]


@pytest.mark.parametrize("target", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_training_and_keeps_nothing(model, tmp_path, target: float) -> None:
    best = Measured([0.9], tmp_path, patience=9)
    with pytest.raises(TrainingDivergedError, match=f"expected a finite loss, got {target} at batch 0"):
        train(model, best, epochs=1, target=target)
    assert list(tmp_path.iterdir()) == []


def test_divergence_leaves_the_best_epoch_of_before(model, tmp_path) -> None:
    train(model, Measured([0.4], tmp_path, patience=9), epochs=1)
    with pytest.raises(TrainingDivergedError):
        train(model, Measured([0.9], tmp_path, patience=9), epochs=2, start=1, target=float("nan"))
    after = Measured([], tmp_path, patience=9)
    assert after.history == [0.4]
    after.restore_best(model)
    assert weight(model) == 0.0


def test_nothing_is_over_before_it_began(tmp_path) -> None:
    assert not Measured([], tmp_path, patience=1).is_over(epochs=1)


@pytest.mark.parametrize("content", [b"", b"[0.1, ", b"{}", b'["0.1"]', b"\xff"])
def test_a_damaged_history_says_which_folder_to_delete(tmp_path, content: bytes) -> None:
    (tmp_path / "history.json").write_bytes(content)
    with pytest.raises(CheckpointsDamagedError, match=f"delete the folder {tmp_path}: the training") as told:
        Measured([], tmp_path, patience=9)
    assert str(told.value).isprintable()
