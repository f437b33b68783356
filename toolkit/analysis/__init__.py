"""Knowledge about nets without running them on data."""
