"""Pictures: curves, previews, confusion matrices, contact sheets."""
