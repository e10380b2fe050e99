"""Tests of the range-scan server."""
