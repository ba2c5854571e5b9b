"""Published training sets in the processed layout of CUT3R, behind one interface."""
