"""Faults in data: collected, told by kind, samples left out."""
