"""A trained network in a format that other programs read."""
