"""The question of `python -m benchmarks.designs`: the seed's three designs."""
