"""Files on the disk: written whole or not at all, read with every size and value checked, fetched and locked."""
