"""What was measured, image by image, and numbers made of it: pure functions of arrays, without a model or a page."""
