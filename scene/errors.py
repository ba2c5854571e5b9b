"""The one exception for what a user can mend, and how to tell that memory was not enough."""

#: what PyTorch, oneDNN and the system say when a CPU has no memory left
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "could not create a primitive")


class InputError(ValueError):
    """Bad input or a bad setting: the message is one sentence that says what is wrong, where, and what to do.

    The command line prints the message without a traceback and ends with exit status 2.
    """


def first_line(error: Exception) -> str:
    """The first line of the text of `error`, at most 200 characters, without its full stop; or its type."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was not enough: Python and GPUs have own exceptions for that, in others the text says so."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error).lower() for words in _NO_MEMORY)
