"""Pairs of programs, before and after, that print the same: see docs/howto/migrate.md.

Run one of them: `python -m examples.migrate.janus_before`
"""
