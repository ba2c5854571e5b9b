"""The user interface: command line, one-call reconstruction, report, evaluation."""

__version__ = "0.1.0"
