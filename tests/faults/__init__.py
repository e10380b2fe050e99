"""What goes wrong on purpose: between clients and servers, and in servers of their own process."""
