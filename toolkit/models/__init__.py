"""The one composition: backbone, neck, head."""
