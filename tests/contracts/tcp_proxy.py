"""A TCP proxy on loopback whose links can be cut, to see what a transport makes of that."""

import contextlib
import socket
import struct
import threading

_RESET = struct.pack("ii", 1, 0)


class TcpProxy:
    """Forwards to `target`. `cut` resets all links; with `refuse` new ones are reset as well."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._refusing = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self, *, refuse: bool = False) -> None:
        with self._lock:
            self._refusing = refuse
            links, self._open = self._open, []
        for link in links:
            _reset(link)

    def close(self) -> None:
        self.cut(refuse=True)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self.connections += 1
                try:
                    far = socket.create_connection(self._target)
                except ConnectionRefusedError:
                    _reset(near)
                    continue
                for link in (near, far):
                    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    if self._refusing:
                        _reset(near)
                        _reset(far)
                        continue
                    self._open += [near, far]
                for pair in ((near, far), (far, near)):
                    thread = threading.Thread(target=_pump, args=pair, daemon=True)
                    self._threads.append(thread)
                    thread.start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _reset(source)
    _reset(sink)


def _reset(link: socket.socket) -> None:
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        link.shutdown(socket.SHUT_RDWR)
    link.close()
