"""Compares networks of the published sizes with the official code, number by number, on made-up weights."""
