"""For scripts that kill themselves: a function at whose nth call, before or after its work, the process is no more."""

import os
import signal
from collections.abc import Callable
from typing import Any


def dying(function: Callable[..., Any], countdown: list[int]) -> Callable[..., Any]:
    """The function, each call of which counts down twice; at 0 the process is killed. Several share one countdown."""

    def call(*args: Any, **kwargs: Any) -> Any:
        _count_down(countdown)
        result = function(*args, **kwargs)
        _count_down(countdown)
        return result

    return call


def _count_down(countdown: list[int]) -> None:
    countdown[0] -= 1
    if countdown[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
