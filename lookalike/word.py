"""Enums whose members are words that users read and files keep."""

from enum import Enum


class Word(str, Enum):
    """A set of words: a member is its word in a message, a table, JSON and a database."""

    __str__ = str.__str__
