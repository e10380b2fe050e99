"""The demo: a server with real data, two kinds of clients that scan it, and a neighbour of theirs."""
