"""Synthetic scenes of coloured shapes, drawn from a seed."""
