"""A key-value server with snapshot range scans, on the wire that the stock Couchbase SDK speaks."""
