"""All interleavings of small cases, on the real code: `python -m tests.interleaving`."""
