"""Floor 5: images and masks, from folders or painted, and what happens to them before a step."""
