"""A U-Net from scratch: every layer and every gradient written by hand, on NumPy or CuPy."""

__version__ = "0.1.0"
