"""Pictures: one color for each class, curves, previews, confusion matrices, contact sheets."""
