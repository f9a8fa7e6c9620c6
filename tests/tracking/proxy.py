"""A TCP proxy that can pass, delay, swallow or refuse what a client sends to a server."""

import contextlib
import socket
import threading
import time
from typing import Literal

Mode = Literal["pass", "delay", "swallow", "refuse"]


class Proxy:
    """Listens on a port of its own as long as the block lasts.

    Args:
        target: Port of the server on 127.0.0.1.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.mode: Mode = "pass"
        self.connections = 0
        self._open: list[socket.socket] = []

    def __enter__(self) -> "Proxy":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break every connection, as a server that dies does."""
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def _accept(self) -> None:
        while True:
            try:
                client = self._listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            if self.mode == "refuse":
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.target))
            self._open += [client, server]
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if self.mode == "swallow":
                    continue
                if self.mode == "delay":
                    time.sleep(0.1)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
