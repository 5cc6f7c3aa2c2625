"""Where an interrupted training is found again, at any address: TensorFlow writes to folders of this machine alone."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import tf_keras as keras

from lookalike.storage.address import is_remote, local_path, open_folder
from lookalike.storage.staging import fetch

_WHOLE = "whole"
"""The last file of a copy, which says that nothing is missing."""


class Checkpoints(keras.callbacks.Callback):
    """A folder with the checkpoints of one training.

    directory: to write to; it holds what an interrupted training of the same inputs left.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)

    def forget(self) -> None:
        """Removes what is kept, once the training's export is saved."""
        finished = self.directory.with_name(f"{self.directory.name}.finished")
        shutil.rmtree(finished, ignore_errors=True)  # left behind by a kill between the next two lines
        self.directory.rename(finished)  # first, so that a kill never leaves half a checkpoint to go on with
        shutil.rmtree(finished)


class _CopiedCheckpoints(Checkpoints):
    """Of which an object store has a whole copy after each epoch, under a number that grows."""

    def __init__(self, directory: Path, address: str) -> None:
        super().__init__(directory)
        self._address = address
        self._folder = open_folder(address)
        if copies := self._copies():
            fetch(self._folder, directory, copies[-1])

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        before = self._copies()
        (self.directory / _WHOLE).touch()
        self._folder.publish(self.directory, f"{int(before[-1]) + 1 if before else 0:06d}", last=_WHOLE)
        for copy in before:
            self._folder.remove(copy, first=_WHOLE)

    def forget(self) -> None:
        parent, _, name = self._address.rpartition("/")
        open_folder(parent).remove(name)

    def _copies(self) -> list[str]:
        return [file.name.split("/")[0] for file in self._folder.files() if file.name.endswith(f"/{_WHOLE}")]


@contextmanager
def checkpoints_at(address: str) -> Iterator[Checkpoints]:
    """The checkpoints at an address, which the last callback of a training must be: it keeps what the others saved."""
    if not is_remote(address):
        yield Checkpoints(local_path(address))
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield _CopiedCheckpoints(Path(scratch, "checkpoints"), address)
