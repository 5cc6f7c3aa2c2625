"""One address for files: a folder of this machine, or a prefix of an object store; nothing half-written is seen."""
