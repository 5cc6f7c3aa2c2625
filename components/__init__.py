"""TFX components, one a file, thin: read artifacts, call a plain function of the other rooms, write."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """Hands out artifact types by their TYPE_NAME (`components.Index`), which is how Kubeflow looks them up.

    Lazily, because TFX takes seconds to import.
    """
    artifacts = importlib.import_module("components.artifacts")
    for class_name in artifacts.__all__:
        artifact_type = getattr(artifacts, class_name)
        if f"components.{name}" == artifact_type.TYPE_NAME:
            return artifact_type
    raise AttributeError(f"module 'components' has no attribute {name!r}")
