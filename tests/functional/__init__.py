"""One file an operation, as in the package."""
