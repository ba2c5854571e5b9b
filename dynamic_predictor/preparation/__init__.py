"""Preparation of raw downloads: from the folders of the publishers to the processed layout of CUT3R."""
