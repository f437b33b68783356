"""Configs of the demos, as package data."""
