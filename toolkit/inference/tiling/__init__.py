"""Large pictures through the net in tiles, with the result of the whole picture."""
