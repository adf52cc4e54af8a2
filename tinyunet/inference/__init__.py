"""A trained network at work: classes for a whole scene, and how good they are."""
