"""From motion evidence to masks: superpixels of a whole clip vote, color models and edges place the borders."""
