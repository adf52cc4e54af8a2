"""The exercises as a student gets them: copied into a folder, one file each, no answer in them."""
