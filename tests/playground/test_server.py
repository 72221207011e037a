"""The server of the playground, asked by hand: what it answers, and whom it refuses."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time

import pytest

from pancake.playground import server as server_module
from pancake.playground.server import MOST_SESSIONS, Server
from pancake.playground.session import Session
from pancake.playground.settings import LABELS
from pancake.playground.trainer import Trainer


@pytest.fixture
def server():
    server = Server(0, Trainer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
    assert all(session.ended for session in server._sessions.values())


class Client:
    """A browser with one tab, as far as the server can tell."""

    def __init__(self, server):
        self.port = server.server_port
        page = self.get("/")[1].decode()
        self.token = re.search('name="token" content="([^"]+)"', page)[1]
        self.name = None
        self.stream = None

    def request(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, dict(headers))
        response = connection.getresponse()
        data = response.read()
        connection.close()
        return response, data

    def get(self, path, **headers):
        return self.request("GET", path, headers=headers)

    def post(self, path, body=None, **headers):
        headers = {"Content-Type": "application/json", "X-Playground-Token": self.token, **headers}
        data = json.dumps({"session": self.name, **(body or {})}) if not isinstance(body, bytes) else body
        response, data = self.request("POST", path, data, headers)
        return response.status, json.loads(data)

    def open(self):
        status, answer = self.post("/open")
        assert status == 200, answer
        self.name = answer["session"]
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.connection.request("GET", f"/events?session={self.name}")
        self.stream = self.connection.getresponse()
        assert self.stream.getheader("Content-Type") == "text/event-stream"
        return self

    def event(self):
        """The next event: its kind and its data."""
        lines = []
        while line := self.stream.readline().decode().rstrip("\n"):
            lines.append(line)
        assert lines, "the stream has ended"
        kind, data = lines
        return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    def until(self, true):
        """The first frame of which something is true."""
        while True:
            kind, data = self.event()
            if kind == "frame" and true(data):
                return data

    def close(self):
        self.stream.close()
        self.connection.close()


@pytest.fixture
def client(server):
    client = Client(server).open()
    yield client
    client.close()


# --- what it does ---


def test_the_page_and_what_it_is_made_of(server):
    client = Client(server)
    response, page = client.get("/")
    assert response.status == 200
    assert response.getheader("Content-Type").startswith("text/html")
    policy = response.getheader("Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    for path in re.findall(r'(?:src|href)="(/[^"]+)"', page.decode()):
        response, _ = client.get(path)
        assert response.status == 200, path
        assert response.getheader("X-Content-Type-Options") == "nosniff"
    for path in ("/", "/page.css", "/page.js", "/draw.js"):
        text = client.get(path)[1].decode().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|//\w+\.", text), f"{path} refers to another place"


def test_messages_call_the_fields_as_the_page_does(server):
    page = Client(server).get("/")[1].decode()
    labels = {name.removesuffix("-name"): label for name, label in re.findall(r'<label for="([^"]+)">([^<]+)</label>', page)}
    assert labels == LABELS


def test_run_pause_step_and_reset(client):
    kind, scene = client.event()
    assert kind == "scene"
    assert scene["settings"]["data"] == "moons"
    first = client.until(lambda frame: True)
    assert (first["steps"], first["running"]) == (0, False)
    assert client.post("/run", {"on": True}) == (200, {})
    frame = client.until(lambda frame: frame["steps"] > 20)
    assert frame["running"]
    assert frame["values"]["loss"] < first["values"]["loss"]
    client.post("/run", {"on": False})
    steps = client.until(lambda frame: not frame["running"])["steps"]
    client.post("/step")
    assert client.until(lambda frame: frame["steps"] != steps)["steps"] == steps + 1
    client.post("/reset")
    assert client.until(lambda frame: not frame["steps"])["values"] == first["values"]


def test_settings_are_changed_while_it_runs(client):
    client.post("/run", {"on": True})
    client.until(lambda frame: frame["steps"] > 5)
    assert client.post("/settings", {"lr": "0.5", "batch": 2}) == (200, {})
    while True:
        kind, data = client.event()
        if kind == "scene":
            break
    assert (data["settings"]["lr"], data["settings"]["batch"]) == (0.5, 2)
    assert client.until(lambda frame: frame["steps"] > 50)["running"]


def test_what_cannot_be_chosen_is_told(client):
    assert client.post("/settings", {"lr": "nan"})[1] == {
        "error": "Learning rate: expected a number from 1e-06 to 1000, got 'nan'"
    }
    for body in ({"layers": "99999"}, {"points": 1e9}, {"os": 1}):
        assert client.post("/settings", body)[1]["error"]


def test_an_explanation_and_files(client):
    for _ in range(3):
        client.post("/step")
    status, answer = client.post("/explain")
    assert status == 200
    assert answer["html"].startswith("<table")
    response, net = client.get(f"/net.npz?session={client.name}")
    assert response.getheader("Content-Disposition") == 'attachment; filename="net.npz"'
    assert net[:2] == b"PK"
    assert "train(3, batch_size=16)" in client.get(f"/train.py?session={client.name}")[1].decode()


def test_a_loss_that_is_not_finite_pauses_with_a_message(client):
    client.post("/settings", {"loss": "MeanSquaredError", "optimizer": "SGD", "lr": 1000, "activation": "ReLU"})
    client.post("/run", {"on": True})
    frame = client.until(lambda frame: frame["message"])
    assert frame["message"].startswith("the loss is ")
    assert not frame["running"]


class Fails(Trainer):
    def step(self):
        raise ZeroDivisionError("of the user's own Function")


def test_an_error_of_the_users_own_pauses_with_a_message(server):
    server.make = Fails
    client = Client(server).open()
    client.post("/run", {"on": True})
    frame = client.until(lambda frame: frame["message"])
    assert frame["message"] == "ZeroDivisionError: of the user's own Function"
    assert not frame["running"]
    assert client.post("/step") == (200, {})
    client.close()


# --- several tabs ---


def test_tabs_are_independent(server):
    a, b = Client(server).open(), Client(server).open()
    assert a.name != b.name
    a.post("/settings", {"data": "blobs"})
    a.post("/run", {"on": True})
    a.until(lambda frame: frame["steps"] > 20)
    assert b.until(lambda frame: True)["steps"] == 0
    b.post("/step")
    assert b.until(lambda frame: frame["steps"])["steps"] == 1
    a.close()
    b.close()


def test_there_are_not_too_many_tabs_and_a_closed_one_makes_room(server):
    clients = [Client(server).open() for _ in range(MOST_SESSIONS)]
    while not all(session.is_listened_to for session in server._sessions.values()):  # or one would make room already
        time.sleep(0.02)
    more = Client(server)
    status, answer = more.post("/open")
    assert status == 429
    assert "close one" in answer["error"]
    first = server._sessions[clients[0].name]
    clients[0].close()
    while first.is_listened_to:
        time.sleep(0.02)
    more.open()
    assert first.ended
    for client in [*clients[1:], more]:
        client.close()


def test_a_session_that_nobody_listens_to_ends_of_itself():
    session = Session(Trainer(), patience=0.0)
    session._thread.join(timeout=60)
    assert session.ended
    with pytest.raises(ValueError, match="has ended"):
        session.ask(Trainer.reset)


def test_a_tab_that_goes_away_stops_its_training(server):
    client = Client(server).open()
    client.post("/run", {"on": True})
    client.until(lambda frame: frame["steps"] > 5)
    session = server._sessions[client.name]
    client.close()
    while session.is_listened_to:
        time.sleep(0.02)
    time.sleep(0.3)  # what was being trained is done
    steps = session._trainer.steps
    time.sleep(0.5)
    assert session._trainer.steps == steps


def test_a_tab_that_goes_away_while_nothing_happens_is_noticed(server, monkeypatch):
    monkeypatch.setattr(server_module, "SECONDS", 1e6)  # nothing is written in the meantime
    client = Client(server).open()
    session = server._sessions[client.name]
    while not session.is_listened_to:
        time.sleep(0.01)
    client.close()
    until = time.monotonic() + 20
    while session.is_listened_to and time.monotonic() < until:
        time.sleep(0.01)
    assert not session.is_listened_to


def test_a_session_that_has_ended_is_told(client, server):
    server._sessions[client.name].end()
    status, answer = client.post("/step")
    assert status == 404
    assert "load the page anew" in answer["error"]


# --- who is refused ---


def test_other_names_for_this_machine_are_refused(server):
    client = Client(server)
    for host in ("evil.example", f"evil.example:{server.server_port}", "127.0.0.1", f"127.0.0.1:{server.server_port + 1}", ""):
        for method in ("GET", "POST", "PUT"):
            response, data = client.request(method, "/", headers={"Host": host, "X-Playground-Token": client.token})
            assert response.status == (405 if method == "PUT" else 403), host
            assert client.token.encode() not in data
    assert client.get("/", Host=f"localhost:{server.server_port}")[0].status == 200


def test_a_request_without_a_host_or_with_two_is_refused(server):
    for hosts in ("", f"Host: 127.0.0.1:{server.server_port}\r\nHost: evil.example\r\n"):
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as raw:
            raw.sendall(f"GET / HTTP/1.1\r\n{hosts}\r\n".encode())
            assert raw.recv(1000).startswith(b"HTTP/1.1 403 ")


def test_other_sites_are_refused(client, server):
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{server.server_port}", "http://localhost:1"):
        assert client.post("/run", {"on": True}, Origin=origin)[0] == 403
        assert client.get(f"/net.npz?session={client.name}", Origin=origin)[0].status == 403
    for site in ("cross-site", "same-site"):
        assert client.get(f"/train.py?session={client.name}", **{"Sec-Fetch-Site": site})[0].status == 403
    assert client.get("/", **{"Sec-Fetch-Site": "cross-site"})[0].status == 200, "a link to the page"
    assert client.post("/run", {"on": False}, Origin=f"http://localhost:{server.server_port}")[0] == 200


def test_a_post_needs_the_token_and_json(client):
    assert client.post("/run", **{"X-Playground-Token": "x"})[0] == 403
    assert client.post("/run", **{"X-Playground-Token": "é"})[0] == 403
    assert client.request("POST", "/run", "{}", {"Content-Type": "application/json"})[0].status == 403
    assert client.post("/run", **{"Content-Type": "text/plain"})[0] == 415
    assert client.post("/run", **{"Content-Type": "application/x-www-form-urlencoded"})[0] == 415
    for body in (b"", b"[]", b"{", b"\xff", b"[" * 10_000):
        assert client.post("/run", body)[0] == 400


def test_too_large_a_body_is_refused(client):
    assert client.post("/settings", b" " * 20_000)[0] == 413
    for length in ("9" * 30, "99999"):
        assert client.request("POST", "/run", b"", _json(client, **{"Content-Length": length}))[0].status == 413
    for length in ("-1", "x", "1_0"):
        assert client.request("POST", "/run", b"", _json(client, **{"Content-Length": length}))[0].status == 411
    chunked = _json(client, **{"Transfer-Encoding": "chunked", "Content-Length": "2"})
    assert client.request("POST", "/run", b"{}", chunked)[0].status == 411


def _json(client, **headers):
    return {"Content-Type": "application/json", "X-Playground-Token": client.token, **headers}


@pytest.mark.parametrize(
    "path",
    [
        "/../setup.cfg",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
        "/page.html",
        "/server.py",
        "/page.css/..",
        "/%2e%2e/",
        "/page.js%00",
    ],
)
def test_there_are_no_other_paths(client, path):
    assert client.get(path)[0].status == 404
    assert client.post(path)[0] == 404


def test_other_methods_are_refused(client):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "HEAD", "FOO"):
        response, _ = client.request(method, "/")
        assert response.status == 405, method
        assert response.getheader("Allow") == "GET, POST"
    assert client.get("/run")[0].status == 405
    assert client.post("/page.css")[0] == 405


def test_sessions_are_found_by_their_own_names_alone(client):
    for name in ("", "x", None, 1, [client.name], {"a": 1}):
        assert client.post("/step", {"session": name})[0] == 404
    for query in ("", "?session=", "?session=x", "?session"):
        for path in ("/events", "/net.npz", "/train.py"):
            assert client.get(path + query)[0].status == 404


def test_what_is_no_request_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as raw:
        raw.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
        assert b"Bad HTTP/0.9 request type" in raw.recv(1000)
