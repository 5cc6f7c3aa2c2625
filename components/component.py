"""TFX's `@component` with the digest of the code in every node, so that none answers from a cache of older code."""

import functools
from collections.abc import Callable
from typing import Any

from tfx import v1 as tfx
from tfx.types.component_spec import ExecutionParameter

from components.source_digest import source_digest


def component(function: Callable[..., None] | None = None, /, *, use_beam: bool = False) -> Any:
    """Makes a component of a function, as `tfx.dsl.components.component` does.

    Its nodes have one execution property more, `source_digest`: of the function's module as it is when the node is
    made. Executor and `test_call` take the function's own arguments, for TFX hands on those alone that it declares.

    Returns the component; without `function`, the decorator that makes it.
    """
    if function is None:
        return functools.partial(component, use_beam=use_beam)
    module = function.__module__
    undigested = tfx.dsl.components.component(function, use_beam=use_beam)
    undigested.SPEC_CLASS.PARAMETERS["source_digest"] = ExecutionParameter(type=str)

    def init(self: Any, **arguments: Any) -> None:
        undigested.__init__(self, source_digest=source_digest(module), **arguments)

    # Both names are in ML Metadata: the node's type is <module>.<name>.
    return type(function.__name__, (undigested,), {"__init__": init, "__module__": module})
