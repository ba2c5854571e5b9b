"""The web viewer: points and cameras of a scene in a browser, while they are found or afterwards."""
