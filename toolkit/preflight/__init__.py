"""What can be known before training: samples read and judged, data against model, previews."""
