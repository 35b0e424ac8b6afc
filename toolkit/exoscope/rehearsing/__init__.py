"""Running against the twin: the sandbox, and what is rehearsed on it."""
