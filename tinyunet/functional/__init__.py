"""Floor 2: the mathematics, one file an operation, each backward right under its forward."""
