"""Several runs beside each other: their figures, camera paths and pictures."""
