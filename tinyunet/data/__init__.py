"""Images and masks, from folders or painted, and what happens to them before a step."""
