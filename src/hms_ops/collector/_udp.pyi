"""The listener loop: datagrams from a socket into a store, in C, without the GIL; see the `.pyx` for its threads."""

import numpy as np
from numpy.typing import NDArray

from hms_ops._ring import Store

class Loop:
    """One socket's receive loop.

    fd: a bound datagram socket that stays open as long as the loop, with a receive timeout, so that a stop is seen;
    input: its row in the ledger (`Store.add_input`); datagram_bytes: longest datagram taken, 1 to 65,507, a longer one
    is rejected as truncated. ValueError for a limit out of range, MemoryError.
    """

    def __init__(self, store: Store, fd: int, input: int, datagram_bytes: int = 65_507) -> None: ...
    @property
    def error(self) -> int:
        """The errno that ended `run` although nobody stopped it; 0 otherwise."""
    @property
    def busy(self) -> NDArray[np.uint64]:
        """uint64[40]: how many batches took [2^i, 2^(i+1)) ns between receive and receive: what the kernel's buffer
        had to cover."""
    def run(self) -> None:
        """Receive until `stop`, then take what is queued already. Called once, from a thread of its own."""
    def stop(self) -> None:
        """Let `run` return once the queue is empty: after the receive timeout, sooner when the socket is shut down."""
