"""What commands show and read in a terminal: progress bars, options."""
