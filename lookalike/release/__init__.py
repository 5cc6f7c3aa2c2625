"""The versioned bundle that serves: staged, verified, renamed, then the pointer flips."""
