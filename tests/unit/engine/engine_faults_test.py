"""mayfly-engine beside an engine that misbehaves: a server of our own behind the socket, real files on the disk.

What a real dockerd does not do on demand: be silent, talk nonsense, replay, be replaced. Needs root (exit status 77).
"""
import http.server
import json
import os
import pathlib
import shutil
import signal
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest
import urllib.parse

from docker_bench import Engine, wait_until

BINARY = sys.argv[1] if len(sys.argv) > 1 else ""
IDS = [f"{i:064x}" for i in range(1, 100)]


def now(offset=0.0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def address_string(self):
        return "broker"

    def answer(self, body, status=200):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Api-Version", self.server.fake.api_version)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        fake = self.server.fake
        path = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(path.query)
        fake.requests.append((path.path, query))
        if path.path == "/_ping":
            self.answer(b"OK")
        elif path.path.endswith("/info"):
            self.answer(fake.info)
        elif "until" in query:
            fake.question(self, query)
        else:
            self.stream(fake)

    def do_POST(self):
        fake = self.server.fake
        path = urllib.parse.urlsplit(self.path)
        fake.posts.append((path.path, urllib.parse.parse_qs(path.query)))
        fake.restart(self, path.path)

    def stream(self, fake):
        with fake.condition:
            fake.streams += 1
            mine, fake.out = fake.streams, []
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.flush()
        self.close_connection = True
        while mine == fake.streams and not fake.closing:
            with fake.condition:
                if not fake.out:
                    fake.condition.wait(0.05)
                    continue
                part = fake.out.pop(0)
            if part is None:
                return
            try:
                self.wfile.write(part)
                self.wfile.flush()
            except OSError:
                return


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A peer that hangs up is what many of these tests are about."""


class FakeEngine:
    def __init__(self, socket, data):
        self.api_version = "1.41"
        self.info = {"DockerRootDir": str(data), "ServerVersion": "20.10.24", "Driver": "vfs", "CgroupVersion": "1",
                     "SecurityOptions": ["name=seccomp,profile=default"]}
        self.question = lambda handler, query: handler.answer(b"")
        self.restart = lambda handler, path: handler.answer(b"", 204)
        self.posts = []
        self.requests, self.out, self.streams, self.closing = [], [], 0, False
        self.condition = threading.Condition()
        self.socket = pathlib.Path(socket)
        self.server = Server(str(socket), Handler)
        self.server.fake = self
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def send(self, *parts):
        with self.condition:
            self.out.extend(parts)
            self.condition.notify_all()

    def event(self, action, identity, time_ns=None, **attributes):
        return json.dumps({"Type": "container", "Action": action, "Actor": {"ID": identity, "Attributes": attributes},
                           "timeNano": time_ns or time.time_ns()}).encode()

    def subscriptions(self):
        return [query for path, query in self.requests if path.endswith("/events") and "until" not in query]

    def close(self):
        self.closing = True
        self.server.shutdown()
        self.server.server_close()
        self.socket.unlink(missing_ok=True)


class Faults(unittest.TestCase):
    def setUp(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-faults-"))
        self.data = self.base / "data"
        (self.data / "containers").mkdir(parents=True)
        (self.base / "run").mkdir()
        self.fake = FakeEngine(self.base / "docker.sock", self.data)
        self.engine = None
        self.expect_end = False

    def tearDown(self):
        if self.engine:
            ended = self.engine.poll()
            status = self.engine.stop()
            if not self.expect_end:
                self.assertIsNone(ended)
                self.assertEqual(status, 0)
        self.fake.close()
        log = (self.base / "engine.log").read_text()
        shutil.rmtree(self.base, ignore_errors=True)
        self.assertNotIn("Sanitizer", log)
        self.assertNotIn("runtime error", log)

    def place(self):
        return types.SimpleNamespace(socket=self.base / "docker.sock", exec_root=self.base / "run")

    def begin(self, reading=True):
        self.engine = Engine(BINARY, self.place(), "mayfly", self.base / "engine.log", reading)
        self.broker = self.engine.broker
        self.broker.greet()
        return self.broker

    def synchronised(self):
        broker = self.begin()
        broker.expect(type="synchronised")
        return broker

    def container(self, identity, volume=None, created="2020-01-01T00:00:00Z", started_before=False, pid=0,
                  labels=None, name=None):
        directory = self.data / "containers" / identity
        directory.mkdir(exist_ok=True)
        mounts = {"/s": {"Type": "volume", "Driver": "mayfly", "Name": volume, "Destination": "/s"}} if volume else {}
        for file, content in (("config.v2.json", {
                "State": {"Running": pid != 0, "Pid": pid, "StartedAt": now()}, "Created": created,
                "Config": {"Image": "i", "Labels": labels or {}, "User": "1:1"}, "Image": "sha256:1",
                "Name": "/" + (name or "c" + identity.lstrip("0")), "Driver": "vfs", "MountPoints": mounts,
                "HasBeenStartedBefore": started_before}), ("hostconfig.json", {
                    "Privileged": False, "ReadonlyRootfs": True})):
            temporary = directory / ".tmp"
            temporary.write_text(json.dumps(content))
            temporary.rename(directory / file)

    # The stream.

    def test_nonsense_in_the_stream_means_connecting_again_and_telling_everything(self):
        broker = self.synchronised()
        self.fake.send(b"HTTP/1.1 500 oops\n")
        self.assertIn("no JSON", broker.expect(type="engine", state="waiting")["detail"])
        broker.expect(type="engine", state="connected")
        broker.expect(type="synchronised")
        self.container(IDS[0])
        self.fake.send(self.fake.event("create", IDS[0]))
        broker.expect(type="event", action="create", id=IDS[0])

    def test_a_stream_that_ends_in_an_event_goes_on_behind_the_last_whole_one(self):
        broker = self.synchronised()
        self.container(IDS[0])
        whole = self.fake.event("create", IDS[0], 1234567890123456789)
        self.fake.send(whole, self.fake.event("die", IDS[0])[:40], None)
        broker.expect(type="event", action="create")
        broker.expect(type="engine", state="waiting")
        broker.expect(type="synchronised")
        self.assertEqual(self.fake.subscriptions()[-1]["since"], ["1234567890.123456790"])
        self.assertTrue(broker.frames.empty())

    def test_an_event_of_five_megabytes_is_left_out_and_the_disk_is_read_instead(self):
        broker = self.synchronised()
        self.container(IDS[0], "v")
        self.fake.send(self.fake.event("create", IDS[0], wide="x" * (5 << 20)), self.fake.event("create", IDS[1]))
        # The small event comes before or behind the reading of the disk: that depends on how the stream was cut.
        self.assertEqual({broker.next()["type"], broker.next()["type"]}, {"event", "synchronised"})
        self.assertIsNone(self.engine.poll())
        _, answer = broker.ask("container", id=IDS[0])
        self.assertEqual(answer["container"]["id"], IDS[0])

    def test_events_cut_into_bytes_arrive(self):
        broker = self.synchronised()
        text = b"".join(self.fake.event("create", identity) for identity in IDS[:5])
        for i in range(len(text)):
            self.fake.send(text[i:i + 1])
        for identity in IDS[:5]:
            broker.expect(type="event", action="create", id=identity)

    def test_an_event_that_cannot_be_read_is_made_up_for(self):
        broker = self.synchronised()
        self.fake.send(b'{"Type":"container","Action":"start","Actor":{"ID":"short"},"timeNano":1}')
        broker.expect(type="synchronised")

    def test_a_death_from_before_the_report_does_not_end_a_new_life(self):
        sleeper = self.living(IDS[0])
        try:
            self.container(IDS[0], "v", pid=sleeper.pid)
            broker = self.begin()
            self.assertEqual(broker.expect(type="running")["pid"], sleeper.pid)
            broker.expect(type="synchronised")
            self.fake.send(self.fake.event("die", IDS[0], time.time_ns() - 10 ** 10), self.fake.event("create", IDS[1]))
            self.assertEqual(broker.next()["id"], IDS[1])
            sleeper.kill()
            sleeper.wait()
            self.fake.send(self.fake.event("die", IDS[0]))
            broker.expect(type="event", action="die", id=IDS[0])
        finally:
            sleeper.kill()
            sleeper.wait()
            self.cgroup.rmdir()
            self.cgroup.parent.rmdir()

    def living(self, identity):
        """A process in a cgroup that names IDENTITY, as a runtime makes one."""
        for hierarchy in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"):
            self.cgroup = pathlib.Path(hierarchy) / f"mayfly-faults-{os.getpid()}" / identity
            try:
                self.cgroup.mkdir(parents=True)
                sleeper = subprocess.Popen(["sleep", "60"])
                (self.cgroup / "cgroup.procs").write_text(str(sleeper.pid))
                return sleeper
            except OSError:
                continue
        self.skipTest("no cgroup can be made")

    # The question.

    def asked(self, question):
        """Candidates of a container that nobody has announced, the engine being asked by QUESTION."""
        self.fake.question = question
        broker = self.synchronised()
        self.container(IDS[0], "v", created=now())
        before = time.monotonic()
        frames, error = broker.candidates("v")
        self.assertIsNone(error)
        self.assertEqual(len(frames), 1)
        self.assertLess(time.monotonic() - before, 4)
        return frames[0]

    def test_what_the_history_names_is_announced(self):
        def question(handler, query):
            wanted = json.loads(query["filters"][0])
            self.assertEqual(wanted["container"], [IDS[0]])
            handler.answer(self.fake.event("create", IDS[0]) + b"\n" + self.fake.event("create", IDS[5]))
        self.assertTrue(self.asked(question)["container"]["announced"])

    def test_what_the_history_does_not_name_is_not(self):
        self.assertFalse(self.asked(lambda handler, query: handler.answer(b""))["container"]["announced"])

    def test_an_engine_that_is_silent_while_it_serves_others_is_an_error_with_a_name(self):
        frame = self.asked(lambda handler, query: time.sleep(3))
        self.assertIsNone(frame["container"])
        self.assertIn("container 'c1'", frame["error"])
        self.assertIn("did not say", frame["error"])

    def test_an_engine_that_refuses_the_question_is_an_error_with_a_name(self):
        self.assertIn("refused", self.asked(lambda handler, query: handler.answer({"message": "x"}, 500))["error"])

    def test_an_answer_that_cannot_be_read_is_an_error_with_a_name(self):
        self.assertIn("cannot be read", self.asked(lambda handler, query: handler.answer(b"<html>"))["error"])

    def test_an_answer_without_end_is_an_error_with_a_name(self):
        def question(handler, query):
            handler.send_response(200)
            handler.end_headers()
            handler.close_connection = True
            try:
                for _ in range(100):
                    handler.wfile.write(b" " * (1 << 20))
            except OSError:
                pass
        self.assertIn("too large", self.asked(question)["error"])

    def test_a_hundred_that_nobody_announced_are_asked_about_in_rounds(self):
        asked = []

        def question(handler, query):
            ids = json.loads(query["filters"][0])["container"]
            asked.append(len(ids))
            handler.answer(b"\n".join(self.fake.event("create", identity) for identity in ids))

        self.fake.question = question
        broker = self.synchronised()
        for identity in IDS[:80]:
            self.container(identity, "v", created=now())
        frames, error = broker.candidates("v")
        self.assertIsNone(error)
        self.assertEqual((len(frames), asked), (80, [32, 32, 16]))
        self.assertTrue(all(frame["container"]["announced"] for frame in frames))
        asked.clear()
        broker.candidates("v")
        self.assertEqual(asked, [])

    # Health and restarts.

    def test_what_a_health_check_says_is_told(self):
        broker = self.synchronised()
        wanted = json.loads(self.fake.subscriptions()[-1]["filters"][0])["event"]
        self.assertEqual(wanted, ["create", "start", "die", "destroy", "health_status: healthy",
                                  "health_status: unhealthy"])
        self.fake.send(self.fake.event("health_status: healthy", IDS[0], 17),
                       self.fake.event("health_status: running", IDS[0]),
                       self.fake.event("health_status: unhealthy", IDS[0]))
        event = broker.next()
        self.assertEqual(event, {"type": "event", "action": "healthy", "id": IDS[0], "time_ns": 17, "source": "engine"})
        self.assertEqual(broker.next()["action"], "unhealthy")

    def test_a_restart_is_one_call_of_the_engine(self):
        broker = self.synchronised()
        self.assertIsNone(broker.restart(IDS[3], timeout_s=12))
        self.assertEqual(self.fake.posts, [(f"/v1.41/containers/{IDS[3]}/restart", {})])

    def test_a_restart_that_fails_says_what_the_engine_says(self):
        self.fake.restart = lambda handler, path: handler.answer({"message": "no \u00e4 'such'\n" + "x" * 1000}, 500)
        error = self.synchronised().restart(IDS[0])
        self.assertTrue(error.startswith("no ?? ?such??xxx") and error.endswith("..."), error)
        self.assertLess(len(error), 400)
        for body, status in ((b"<html>", 500), ({"message": 5}, 404), (b"", 304), (b"", 100000)):
            self.fake.restart = lambda handler, path, body=body, status=status: handler.answer(body, status)
            self.assertRegex(self.broker.restart(IDS[0]), "^the engine (answered with status|has not answered)")

    def test_an_engine_that_hangs_up_during_a_restart_is_not_asked_again(self):
        def restart(handler, path):
            handler.close_connection = True
        self.fake.restart = restart
        broker = self.synchronised()
        broker.ask("containers")
        self.assertIn("has not answered", broker.restart(IDS[0]))
        self.assertEqual(len(self.fake.posts), 1)

    def test_restarts_hold_up_neither_events_nor_questions(self):
        go = threading.Event()

        def restart(handler, path):
            go.wait(20)
            handler.answer(b"", 204)

        self.fake.restart = restart
        broker = self.synchronised()
        self.container(IDS[0], "v", created=now())
        for serial in range(20):
            broker.send(type="restart", serial=7000 + serial, id=IDS[serial], timeout_s=0)
        wait_until(lambda: len(self.fake.posts) == 8)
        # The engine is asked about the one that nobody has announced.
        self.fake.question = lambda handler, query: handler.answer(self.fake.event("create", IDS[0]))
        frames, error = broker.candidates("v", timeout=4)
        self.assertEqual((len(frames), error, frames[0]["container"]["announced"]), (1, None, True))
        self.fake.send(self.fake.event("die", IDS[50]))
        broker.expect(type="event", action="die", id=IDS[50], timeout=4)
        self.assertEqual(len(self.fake.posts), 8)
        go.set()
        done = [broker.expect(type="done") for _ in range(20)]
        self.assertEqual(sorted(frame["serial"] for frame in done), list(range(7000, 7020)))
        self.assertEqual({frame["error"] for frame in done}, {None})
        restarted = [path.split("/")[3] for path, _ in self.fake.posts]
        self.assertEqual((set(restarted[:8]), set(restarted[8:])), (set(IDS[:8]), set(IDS[8:20])))
        self.assertEqual(len(restarted), 20)

    def test_a_restart_that_a_former_broker_asked_for_is_not_told_to_the_next(self):
        go = threading.Event()

        def restart(handler, path):
            go.wait(20)
            handler.answer(b"", 204)

        self.fake.restart = restart
        broker = self.synchronised()
        for serial in range(12):
            broker.send(type="restart", serial=serial, id=IDS[serial], timeout_s=0)
        wait_until(lambda: len(self.fake.posts) == 8)
        second = self.engine.new_broker()
        second.greet()
        second.expect(type="synchronised")
        second.send(type="restart", serial=3, id=IDS[40], timeout_s=0)
        go.set()
        self.assertEqual(second.next(), {"type": "done", "serial": 3, "error": None})
        second.ask("containers")
        self.assertTrue(second.frames.empty())
        self.assertEqual(len(self.fake.posts), 9)
        broker.close()

    def test_the_end_under_a_restart_is_an_end(self):
        go = threading.Event()
        self.fake.restart = lambda handler, path: go.wait(20)
        broker = self.synchronised()
        for serial in range(12):
            broker.send(type="restart", serial=serial, id=IDS[serial], timeout_s=3600)
        wait_until(lambda: len(self.fake.posts) == 8)
        self.expect_end = True
        self.assertEqual(self.engine.stop(), 0)
        go.set()
        self.engine = None

    # The engine itself.

    def test_an_engine_that_does_not_say_where_it_lives_is_waited_for(self):
        self.fake.info = {"DockerRootDir": "relative"}
        broker = self.begin()
        while "does not say where" not in broker.expect(type="engine", state="waiting")["detail"]:
            pass

    def test_an_engine_whose_directory_cannot_be_read_is_waited_for(self):
        self.fake.info["DockerRootDir"] = str(self.base / "nowhere")
        broker = self.begin()
        while "nowhere" not in broker.expect(type="engine", state="waiting")["detail"]:
            pass
        (self.base / "nowhere/containers").mkdir(parents=True)
        broker.expect(type="synchronised")

    def test_an_answer_of_two_megabytes_is_no_answer(self):
        self.fake.info["Labels"] = ["x" * (2 << 20)]
        self.begin().expect(type="engine", state="waiting")

    def test_a_newer_engine_is_spoken_to_in_a_version_that_we_know(self):
        self.fake.api_version = "1.99"
        broker = self.begin()
        self.assertEqual(broker.expect(type="engine", state="connected")["api_version"], "1.51")
        self.assertIn("/v1.51/info", [path for path, _ in self.fake.requests])

    def test_another_server_at_the_socket_is_noticed(self):
        broker = self.synchronised()
        self.fake.socket.unlink()
        other = FakeEngine(self.base / "docker.sock", self.data)
        try:
            self.assertIn("another engine", broker.expect(type="engine", state="waiting")["detail"])
            broker.expect(type="engine", state="connected")
            broker.expect(type="synchronised")
            self.assertEqual(other.streams, 1)
        finally:
            other.close()

    def test_a_directory_that_was_made_anew_needs_another_process(self):
        self.expect_end = True
        broker = self.synchronised()
        self.data.rename(self.base / "old")
        (self.data / "containers").mkdir(parents=True)
        self.fake.send(None)
        broker.expect(type="engine", state="waiting")
        self.assertEqual(self.engine.wait(), 1)

    def test_a_file_outside_of_the_engines_directory_is_not_read(self):
        broker = self.synchronised()
        self.container(IDS[0], "v")
        inside = self.data / "containers" / IDS[0] / "config.v2.json"
        outside = self.base / "outside.json"
        inside.rename(outside)
        inside.symlink_to(outside)
        _, answer = broker.ask("container", id=IDS[0])
        self.assertIsNone(answer["container"])
        self.assertIn("Permission denied", answer["error"])

    def test_waiting_is_written_to_the_log_once(self):
        self.fake.close()
        broker = self.begin()
        broker.expect(type="engine", state="waiting")
        time.sleep(3)
        lines = (self.base / "engine.log").read_text().splitlines()
        self.assertEqual(len([line for line in lines if "waiting for the engine" in line]), 1, lines)
        beats = self.engine.heartbeats
        self.assertGreaterEqual(beats, 5)

    # The load.

    def test_containers_of_three_megabytes_do_not_stop_the_heart(self):
        wide = {f"label-{i}": "x" * 20 for i in range(80000)}
        for identity in IDS[:12]:
            self.container(identity, "v", labels=wide)
        gaps, stop = [], threading.Event()

        def listen():
            beats, last = self.engine.heartbeats, time.monotonic()
            while not stop.wait(0.01):
                if self.engine.heartbeats > beats:
                    beats = self.engine.heartbeats
                    gaps.append(time.monotonic() - last)
                    last = time.monotonic()

        broker = self.begin()
        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        broker.expect(type="synchronised", timeout=60)
        frames, error = broker.candidates("v", timeout=60)
        self.assertIsNone(error)
        self.assertEqual(len(frames), 12)
        self.assertTrue(all("do not fit" in frame["error"] for frame in frames))
        wait_until(lambda: len(gaps) > 2)
        stop.set()
        listener.join()
        self.assertLess(max(gaps), 1.9)
        print(f"\n  12 containers with 80,000 labels each: longest gap between heartbeats {max(gaps):.2f} s, "
              f"PSS {self.engine.proportional_kib()} KiB")

    def test_events_that_the_broker_does_not_read_wait_at_the_engine(self):
        broker = self.begin(reading=False)
        wait_until(lambda: self.fake.streams == 1)
        time.sleep(0.5)
        some = b"".join(self.fake.event("die", identity) for identity in IDS)
        self.fake.send(*[some] * 1000)
        left = -1
        while left != len(self.fake.out):
            left = len(self.fake.out)
            time.sleep(0.5)
        self.assertGreater(left, 500)
        beats = self.engine.heartbeats
        broker.read()
        broker.expect(type="synchronised")
        # What was lost meanwhile is made up for by reading the disk again.
        broker.expect(type="synchronised", timeout=60)
        wait_until(lambda: not self.fake.out, 60)
        self.fake.send(self.fake.event("create", IDS[0]))
        broker.expect(type="event", action="create", timeout=60)
        self.assertGreater(self.engine.heartbeats, beats)
        print(f"\n  memory after 99,000 events of which most waited: PSS {self.engine.proportional_kib()} KiB")

    def test_a_thousand_requests_at_once_are_all_answered(self):
        broker = self.synchronised()
        for identity in IDS[:10]:
            self.container(identity, "v")
        for serial in range(1000):
            broker.send(type="candidates", serial=5000 + serial, volume="v")
        done = []
        while len(done) < 1000:
            frame = broker.next(30)
            if frame["type"] == "done":
                done.append(frame["serial"])
        self.assertEqual(sorted(done), list(range(5000, 6000)))


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped, missing: root")
        sys.exit(1 if os.environ.get("MAYFLY_TESTS_MUST_RUN") else 77)
    signal.alarm(280)
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:], verbosity=2)
