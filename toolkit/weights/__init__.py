"""Weights of other libraries: read, renamed by tables, fitted to a net, every tensor accounted for."""
