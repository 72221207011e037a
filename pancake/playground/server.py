"""The server: one page for the browsers of this machine, and what they may ask."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import select
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pancake.playground.script import script
from pancake.playground.session import Session
from pancake.playground.trainer import Trainer

ADDRESS = "127.0.0.1"
MOST_SESSIONS = 5  # a browser keeps six connections to one server, and each tab holds one of them
LARGEST = 16_384  # bytes of what a page may send
SECONDS = 20  # that a connection may do nothing

FILES = {"/page.css": "text/css", "/page.js": "text/javascript", "/draw.js": "text/javascript"}
# Nothing from elsewhere, no script but the page's own, and no text that is run as one.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that is not answered, with its status and the reason."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Server(ThreadingHTTPServer):
    """The sessions, and who may speak with them.

    Parameters
    ----------
    port : int
        0 for any that is free.
    make : callable
        Makes the `Trainer` of a tab.

    Raises
    ------
    OSError
        If the port cannot be had.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = os.name == "posix"  # elsewhere it would let two programs have one port

    def __init__(self, port: int, make: Callable[[], Trainer]) -> None:
        self._sessions: dict[str, Session] = {}
        self._lock = threading.Lock()
        self.make = make
        self.token = secrets.token_urlsafe(24)
        super().__init__((ADDRESS, port), Handler)
        self.hosts = [f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")]
        if self.server_port == 80:
            self.hosts += [ADDRESS, "localhost"]

    def server_bind(self) -> None:
        """Bind, without asking for the name of this machine, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def open(self) -> str:
        """A session for one more tab: its name, which only that tab knows."""
        with self._lock:
            self._sessions = {name: session for name, session in self._sessions.items() if not session.ended}
            for session in list(self._sessions.values()):
                if len(self._sessions) >= MOST_SESSIONS and not session.is_listened_to:  # as of a page that was loaded anew
                    session.end()
                    self._sessions = {name: other for name, other in self._sessions.items() if other is not session}
            if len(self._sessions) >= MOST_SESSIONS:
                tabs = f"{MOST_SESSIONS} tabs are open already"
                raise Refused(HTTPStatus.TOO_MANY_REQUESTS, f"{tabs}; close one of them, and load this page anew")
            name = secrets.token_urlsafe(24)
            self._sessions[name] = Session(self.make())
            return name

    def session(self, name: Any) -> Session:
        """The session of that name."""
        session = self._sessions.get(name) if isinstance(name, str) else None
        if session is None or session.ended:
            raise Refused(HTTPStatus.NOT_FOUND, "the training of this tab has ended; load the page anew")
        return session

    def server_close(self) -> None:
        """Close the port and end all sessions."""
        super().server_close()
        for session in self._sessions.values():
            session.end()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of browsers that have gone away."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = SECONDS
    server: Server

    # --- GET ---

    def do_GET(self) -> None:
        """The page, what it is made of, the pictures of a training, and files to take away."""
        self._answer_to(self._get)

    def _get(self) -> None:
        url = urlsplit(self.path)
        self._check_origin(may_come_from_anywhere=url.path == "/")
        if url.path == "/":
            page = _file("page.html").decode().replace("{{token}}", self.server.token)
            return self._send(page.encode(), "text/html; charset=utf-8")
        if url.path in FILES:
            return self._send(_file(url.path[1:]), FILES[url.path] + "; charset=utf-8")
        taken = {"/events": self._events, "/net.npz": self._net, "/train.py": self._script}.get(url.path)
        if taken is None:
            raise self._wrong_method("POST") if url.path in ASKED else Refused(HTTPStatus.NOT_FOUND, "there is no such page")
        return taken(self.server.session(parse_qs(url.query).get("session", [""])[0]))

    def _net(self, session: Session) -> None:
        self._send(session.ask(Trainer.exported), "application/octet-stream", name="net.npz")

    def _script(self, session: Session) -> None:
        self._send(session.ask(script).encode(), "text/x-python; charset=utf-8", name="train.py")

    def _events(self, session: Session) -> None:
        """Server-sent events, until one of both has gone."""
        self._begin(HTTPStatus.OK, {"Content-Type": "text/event-stream", "Connection": "close"})
        self.close_connection = True
        seen: dict[str, int] = {}
        last = time.monotonic()
        with session.listening():
            while not session.ended and not _has_gone(self.connection):
                news = session.news(seen, timeout=0.5)
                for kind, text in news.items():
                    self.wfile.write(f"event: {kind}\ndata: {text}\n\n".encode())
                if news:
                    last = time.monotonic()
                elif time.monotonic() - last > SECONDS / 2:
                    self.wfile.write(b": still here\n\n")
                    last = time.monotonic()

    # --- POST ---

    def do_POST(self) -> None:
        """What the buttons and fields of the page ask for."""
        self._answer_to(self._post)

    def _post(self) -> None:
        self._check_origin()
        if not hmac.compare_digest(self.headers.get("X-Playground-Token", "").encode(), self.server.token.encode()):
            raise Refused(HTTPStatus.FORBIDDEN, "the page belongs to an earlier run of the playground; load it anew")
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "expected application/json")
        body = self._body()
        if self.path == "/open":
            return self._send_json({"session": self.server.open()})
        if self.path not in ASKED:
            got = urlsplit(self.path).path in ("/", "/events", "/net.npz", "/train.py", *FILES)
            raise self._wrong_method("GET") if got else Refused(HTTPStatus.NOT_FOUND, "there is no such request")
        session = self.server.session(body.pop("session", None))
        task = ASKED[self.path]
        try:
            answer = session.ask(lambda trainer: task(session, trainer, body))
        except OSError:
            raise
        except (
            Exception
        ) as error:  # what cannot be chosen, and faults in the user's own Function: the page says so, in good order
            answer = {"error": str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"}
        return self._send_json(answer)

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit()) or self.headers.get("Transfer-Encoding"):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length")
        if len(length) > 9 or int(length) > LARGEST:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {LARGEST} bytes")
        try:
            body = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise Refused(HTTPStatus.BAD_REQUEST, "expected a JSON object")
        return body

    # --- refusals and answers ---

    def _check_origin(self, may_come_from_anywhere: bool = False) -> None:
        """Refuse other names for this machine, which are another site's, and what another site's page asks for."""
        if self.headers.get_all("Host") not in [[host] for host in self.server.hosts]:
            raise Refused(HTTPStatus.FORBIDDEN, f"expected the host {' or '.join(self.server.hosts[:2])}")
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in self.server.hosts]:
            raise Refused(HTTPStatus.FORBIDDEN, "a page of another site may ask nothing here")
        if not may_come_from_anywhere and self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            raise Refused(HTTPStatus.FORBIDDEN, "a page of another site may ask nothing here")

    def _wrong_method(self, allowed: str) -> Refused:
        return Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"expected {allowed}")

    def __getattr__(self, name: str) -> Any:
        """The answer to any other method."""
        if name.startswith("do_"):
            return lambda: self._answer_to(self._refuse_method)
        raise AttributeError(name)

    def _refuse_method(self) -> None:
        raise self._wrong_method("GET or POST")

    def _answer_to(self, request: Callable[[], None]) -> None:
        try:
            request()
        except Refused as refused:
            self._refuse(refused.status, str(refused))
        except OSError:  # the browser has gone
            raise
        except Exception as error:  # a path that is none, or a net that cannot be saved
            self._refuse(HTTPStatus.BAD_REQUEST, f"{type(error).__name__}: {error}")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True  # what has not been read of the request is not the next one
        more = {"Allow": "GET, POST"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
        self._send(
            json.dumps({"error": reason}).encode(), "application/json", status=status, more={"Connection": "close", **more}
        )

    def _send_json(self, value: Any) -> None:
        self._send(json.dumps(value).encode(), "application/json")

    def _send(
        self, body: bytes, kind: str, *, name: str = "", status: HTTPStatus = HTTPStatus.OK, more: Mapping[str, str] | None = None
    ) -> None:
        headers = {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})}
        if name:
            headers["Content-Disposition"] = f'attachment; filename="{name}"'
        self._begin(status, headers)
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, status: HTTPStatus, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for header in (HEADERS | dict(headers)).items():
            self.send_header(*header)
        self.end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What cannot even be read as a request, without a page of HTML."""
        self._refuse(HTTPStatus(code), message or HTTPStatus(code).phrase)

    def version_string(self) -> str:
        """What the server calls itself: no versions."""
        return "pancake"

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged: the terminal belongs to the user."""


# --- what a page may ask of its session ---


def _run(session: Session, trainer: Trainer, body: dict[str, Any]) -> dict[str, Any]:
    session.running, session.message = bool(body.get("on")), ""
    session.publish(note=False)
    return {}


def _step(session: Session, trainer: Trainer, body: dict[str, Any]) -> dict[str, Any]:
    session.running, session.message = False, ""
    try:
        trainer.step()
    except Exception as error:
        session.fail(error)
    session.publish()
    return {}


def _reset(session: Session, trainer: Trainer, body: dict[str, Any]) -> dict[str, Any]:
    session.running, session.message = False, ""
    trainer.reset()
    session.publish(new_scene=True)
    return {}


def _settings(session: Session, trainer: Trainer, body: dict[str, Any]) -> dict[str, Any]:
    trainer.change(body)
    session.message = ""
    session.publish(new_scene=True)
    return {}


def _explain(session: Session, trainer: Trainer, body: dict[str, Any]) -> dict[str, Any]:
    session.running = False
    session.publish(note=False)
    return {"html": trainer.explanation()}


ASKED = {"/run": _run, "/step": _step, "/reset": _reset, "/settings": _settings, "/explain": _explain}


def _has_gone(connection: socket.socket) -> bool:
    """Whether the other side has closed a connection over which it has nothing to say."""
    readable, _, _ = select.select([connection], [], [], 0)
    return bool(readable) and not connection.recv(1, socket.MSG_PEEK)


def _file(name: str) -> bytes:
    return resources.files("pancake.playground").joinpath(name).read_bytes()
