"""Clips of any length, and live cameras: predicted chunk by chunk, aligned, closed at loops, everything on the disk."""
