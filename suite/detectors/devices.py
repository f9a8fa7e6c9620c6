"""What a loss may do on which device."""

from torch import Tensor


def asynchronous(tensor: Tensor) -> bool:
    """Whether the tensor's device works behind the program, as a GPU does.

    The program must not ask it for a value or a count then: waiting for the answer stalls both.
    """
    return tensor.is_cuda
