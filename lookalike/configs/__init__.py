"""Settings as frozen, validated dataclasses; one Python file per setting."""

from lookalike.configs.settings import Settings, load_settings, setting_names

__all__ = ["Settings", "load_settings", "setting_names"]
