"""The human gate: evidence goes in, a signed decision comes out."""
