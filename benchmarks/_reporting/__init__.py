"""How a run becomes docs/benchmarks.md, its plots, and the README's figures."""
