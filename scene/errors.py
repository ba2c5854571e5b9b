"""The one exception for what a user can mend."""


class InputError(ValueError):
    """Bad input or a bad setting: the message is one sentence that says what is wrong, where, and what to do.

    The command line prints the message without a traceback and ends with exit status 2.
    """
