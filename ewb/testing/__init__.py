"""Tools to test engines with."""
