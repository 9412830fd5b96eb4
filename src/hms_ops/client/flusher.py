"""The daemon thread that empties the buffer into the network, and what becomes of it at fork and at exit.

It wakes every `interval_seconds`, or sooner when emitters ring because RING_BYTES wait. It starts with the first
sample, not with the client: a prefork server that builds clients before it forks has no thread to lose.

Fork: the child forgets the parent's buffer, socket, counters and locks, and starts a thread of its own with its first
sample; what the parent had buffered is the parent's to send.
Exit: atexit, and for the children of multiprocessing, which skip atexit, a Finalize, let the thread send what is left
for at most EXIT_WAIT_SECONDS. Samples emitted later than that are sent by their own thread.
"""

import atexit
import os
import sys
import threading
import weakref
from typing import Final

from hms_ops.client.buffer import SEAL_LINES, Buffer
from hms_ops.client.transport import UDP_DATAGRAM_BYTES, Transport
from hms_ops.client.wire import cut

RING_BYTES: Final = 24 * UDP_DATAGRAM_BYTES
"""Enough full datagrams to be worth a switch of threads, too few to overflow a receiver's default socket buffer."""
EXIT_WAIT_SECONDS: Final = 0.5


class Doorbell:
    """Wakes one waiting thread.

    Unlike a threading.Event it may be rung in a signal handler or __del__: ringing waits for no lock that the
    interrupted thread might hold.
    """

    def __init__(self) -> None:
        self._silence = threading.Lock()
        self._silence.acquire()

    def ring(self) -> None:
        try:
            self._silence.release()
        except RuntimeError:
            return  # rung already, and not yet heard

    def wait(self, seconds: float) -> None:
        self._silence.acquire(timeout=seconds)


class Flusher:
    """Sends what `buffer` holds over `transport`. `dropped_oversize`: samples whose line fits into no datagram."""

    def __init__(self, buffer: Buffer, transport: Transport, interval_seconds: float) -> None:
        if not interval_seconds > 0:
            raise ValueError(f"flush_interval_seconds is positive, not {interval_seconds}")
        self._buffer = buffer
        self._transport = transport
        self._interval_seconds = interval_seconds
        self.forget()
        _flushers.add(self)

    def forget(self) -> None:
        """As before the first sample: what a forked child starts with."""
        self._buffer.forget()
        self._transport.forget()
        self.dropped_oversize = 0
        self.is_finished = False
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._sending = threading.Lock()
        self._doorbell = Doorbell()

    def attend(self) -> None:
        """What emitters call when the buffer asks for it: start the thread, seal, ring."""
        if self.is_finished:
            self._attend_late()
            return
        if self._thread is None:
            self._start()
        if self._buffer.try_seal() >= RING_BYTES:
            self._doorbell.ring()

    def _attend_late(self) -> None:
        """Send at once, unless a lock is taken: at exit its owner may be this very thread, in a finalizer."""
        if self._buffer.is_closed:
            self._buffer.try_seal()
        elif self._sending.acquire(blocking=False):
            try:
                self._send_buffered(may_wait=False)
            finally:
                self._sending.release()

    def _start(self) -> None:
        """Start the thread, without waiting for another that does so; if none can be had, the next sample tries."""
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="hms-ops-client", daemon=True)
                thread.start()
                self._thread = thread
                self._buffer.attend_at = SEAL_LINES
                _flush_when_multiprocessing_exits(self)
        except RuntimeError:  # no more threads: a limit of the system, or the interpreter is ending
            return
        finally:
            self._starting.release()

    def flush(self) -> None:
        """Send what is buffered, in the thread that calls; may wait for a name to resolve or for a full receiver."""
        with self._sending:
            self._send_buffered()

    def _send_buffered(self, may_wait: bool = True) -> None:
        block = self._buffer.take(may_wait)
        if block:
            datagrams = cut(block, self._transport.datagram_bytes())
            self.dropped_oversize += datagrams.oversize
            self._transport.send(datagrams.parts)

    def finish(self, wait_seconds: float = EXIT_WAIT_SECONDS) -> None:
        """Let the thread send what is left and end; wait that long for it. Later samples are sent as they come."""
        self.is_finished = True
        self._buffer.attend_at = 0
        if self._thread is not None:
            self._doorbell.ring()
            self._thread.join(wait_seconds)

    def close(self) -> None:
        """Finish, drop what comes later, and give the socket back."""
        self.finish()
        if not self._sending.acquire(timeout=EXIT_WAIT_SECONDS):
            self._buffer.close()  # a name is still resolving: the thread gives the socket back when the process ends
            return
        try:
            self._send_buffered()
            self._buffer.close()
            self._transport.close()
        finally:
            self._sending.release()

    def _run(self) -> None:
        while not self.is_finished:
            self._doorbell.wait(self._interval_seconds)
            self.flush()
        self.flush()  # what came while the flush before was sending


_flushers: weakref.WeakSet[Flusher] = weakref.WeakSet()


def _forget_all() -> None:
    for flusher in list(_flushers):
        flusher.forget()


def _finish_all() -> None:
    for flusher in list(_flushers):
        flusher.finish()


def _flush_when_multiprocessing_exits(flusher: Flusher) -> None:
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(flusher, flusher.finish, exitpriority=0)


atexit.register(_finish_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
