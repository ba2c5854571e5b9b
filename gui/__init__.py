"""The window of train_gui.py: watch an optimization, look around in it, and mend its masks."""
