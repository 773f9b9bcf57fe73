"""Runtimes that networks are measured in, one file each."""
