"""One file per command of the command line: `add_arguments(parser)` adds its options, `run(options)` runs it and
returns the exit status, and `EPILOG` is the end of its help."""
