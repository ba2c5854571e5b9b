"""The exception for errors that a user can correct, and the detection of out-of-memory errors."""

#: messages of PyTorch, oneDNN and the system for a lack of CPU memory
_NO_MEMORY = ("can't allocate memory", "cannot allocate memory", "could not create a primitive")

#: characters of a message
_LONGEST = 1000


class InputError(ValueError):
    """Bad input or a bad setting: the message is one sentence that names the problem, its place and a remedy.

    The command line prints the message without a traceback and ends with exit status 2. A message that quotes a file
    may be of any length: its middle is left out.
    """

    def __init__(self, message: str = "") -> None:
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST // 2]} ... {message[-_LONGEST // 4 :]}"
        super().__init__(message)


def first_line(error: Exception) -> str:
    """The first line of the text of `error`, at most 200 characters, without its full stop; or its type."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".")[:200] if lines else type(error).__name__


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is a lack of memory: by its type (Python, CUDA), or else by its message."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return any(words in str(error).lower() for words in _NO_MEMORY)
