"""mayfly-engine beside a real dockerd: what it says, when it says it, and what it does not need to say it.

Needs root, dockerd, containerd, runc and a static busybox; without them it skips (exit status 77).
"""
import json
import os
import pathlib
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
import unittest

import docker_bench
from docker_bench import Docker, Engine, Plugin, wait_until

BINARY = sys.argv[1] if len(sys.argv) > 1 else ""
DRIVER = f"mayfly-t{os.getpid()}"
bench = None


class Bench:
    """What all tests share: one dockerd, one plugin, one directory."""

    def __init__(self):
        self.base = pathlib.Path(tempfile.mkdtemp(prefix="mayfly-engine-"))
        self.plugin = Plugin(self.base, DRIVER)
        self.docker = Docker(self.base)
        self.docker.start()
        self.docker.import_image("mayfly-test")

    def engine(self, docker=None, **options):
        return Engine(BINARY, docker or self.docker, DRIVER, self.base / "engine.log", **options)

    def close(self):
        self.docker.destroy()
        self.plugin.close()
        shutil.rmtree(self.base, ignore_errors=True)


def setUpModule():
    global bench
    bench = Bench()


def tearDownModule():
    log = (bench.base / "engine.log").read_text() if (bench.base / "engine.log").exists() else ""
    bench.close()
    if "Sanitizer" in log or "runtime error" in log:
        raise AssertionError(log)


def mounts(volume, target="/run/secrets"):
    return {"Mounts": [{"Type": "volume", "Source": volume, "Target": target, "ReadOnly": True,
                        "VolumeOptions": {"DriverConfig": {"Name": DRIVER}}}]}


class WithEngine(unittest.TestCase):
    """Each test has its own mayfly-engine and leaves no container."""

    def setUp(self):
        bench.plugin.on_mount = lambda volume, mount_id: None
        self.docker = bench.docker
        self.engine = bench.engine()
        self.assertTrue(self.engine.ready.wait(10))
        self.broker = self.engine.broker

    def tearDown(self):
        self.assertIsNone(self.engine.poll(), "mayfly-engine has ended by itself")
        self.assertEqual(self.engine.stop(), 0)
        for container in self.docker.containers():
            self.docker.remove(container["Id"])


class Conversation(WithEngine):
    def test_nothing_is_said_before_hello_and_then_everything_in_order(self):
        running = self.docker.create("one", host=mounts("v1"), User="app:web", Labels={"shop": "yes"})
        self.docker.start_container("one")
        plain = self.docker.create("two")
        self.docker.start_container("two")
        time.sleep(0.5)
        self.assertTrue(self.broker.frames.empty())
        self.broker.greet()
        frames = [self.broker.next()]
        while frames[-1]["type"] != "synchronised":
            frames.append(self.broker.next())
        connected = [f for f in frames if f["type"] == "engine"][-1]
        self.assertEqual(frames[0]["type"], "engine")
        self.assertEqual(connected["state"], "connected")
        self.assertEqual(connected["data_root"], str(self.docker.data))
        self.assertEqual(connected["storage_driver"], "overlay2")
        self.assertIn(connected["cgroup_version"], (1, 2))
        self.assertRegex(connected["api_version"], r"^1\.\d+$")
        told = {f["id"]: f for f in frames if f["type"] == "running"}
        self.assertEqual(set(told), {running, plain})
        self.assertIsNone(told[plain]["container"])
        self.assertTrue(pathlib.Path(f"/proc/{told[plain]['pid']}").exists())
        container = told[running]["container"]
        self.assertEqual(container["pid"], told[running]["pid"])
        self.assertTrue(container["running"] and container["root_mounted"] and container["announced"])

    def test_facts_are_what_was_asked_for(self):
        host = mounts("v1", "/var/run/secrets")
        host.update(CapAdd=["SYS_PTRACE"], CapDrop=["ALL"], ReadonlyRootfs=True, PidsLimit=50, Memory=64 << 20,
                    SecurityOpt=["no-new-privileges"], IpcMode="shareable")
        self.engine.greeted()
        name = self.docker.create("facts", host=host, User="app:web", Labels={"a": "b", "": "empty"})
        self.docker.start_container("facts")
        self.docker.create("guest", host={"PidMode": "container:facts"})
        event = self.broker.expect(type="event", action="start", id=name)
        self.assertEqual(event["source"], "engine")
        self.broker.expect(type="event", action="create")
        _, answer = self.broker.ask("container", id=name)
        for facts in (event["container"], answer["container"]):
            self.assertEqual(facts["name"], "facts")
            self.assertEqual(facts["image_name"], "mayfly-test:1")
            self.assertRegex(facts["image_id"], "^sha256:[0-9a-f]{64}$")
            self.assertEqual(facts["image_digests"], [facts["image_id"]])
            self.assertEqual(facts["labels"], {"a": "b", "": "empty"})
            self.assertEqual(facts["volumes"], [{"name": "v1", "target": "run/secrets"}])
            self.assertEqual(facts["user"], {"text": "app:web", "uid": 1000, "gid": 2000, "error": None})
            self.assertEqual((facts["uid_offset"], facts["gid_offset"], facts["id_count"]), (0, 0, 4294967295))
            self.assertEqual((facts["privileged"], facts["read_only_root"], facts["no_new_privileges"],
                              facts["engine_socket"]), (False, True, True, False))
            self.assertEqual(facts["capabilities_added"], ["SYS_PTRACE"])
            self.assertEqual(facts["capabilities_dropped"], ["ALL"])
            self.assertEqual((facts["pids_limit"], facts["memory_limit"]), (50, 64 << 20))
            self.assertEqual((facts["pid_mode"], facts["ipc_mode"]), ("", "shareable"))
            self.assertEqual(event["pid"], facts["pid"])
            self.assertIsNotNone(facts["started_at"])
        self.assertFalse(event["container"]["shares_pid_namespace"])
        self.assertTrue(answer["container"]["shares_pid_namespace"])
        _, answer = self.broker.ask("container", id="0" * 64)
        self.assertEqual((answer["container"], answer["error"]), (None, None))

    def test_a_life_is_told_from_create_to_destroy(self):
        self.engine.greeted()
        name = self.docker.create("life", host=mounts("v1"))
        self.docker.start_container("life")
        self.docker.remove("life")
        for action in ("create", "start", "die", "destroy"):
            event = self.broker.expect(type="event", action=action)
            self.assertEqual(event["id"], name)
            self.assertEqual("container" in event, action == "start")

    def test_the_engine_socket_is_seen_through_its_directory(self):
        self.engine.greeted()
        socket_mount = {**mounts("v1"), "Binds": [f"{self.docker.socket}:/var/run/docker.sock"]}
        above = {**mounts("v1"), "Binds": [f"{bench.base}:/base:ro"]}
        beside = {**mounts("v1"), "Binds": [f"{bench.plugin.volumes_directory}:/beside:ro"]}
        for name, host, expect in (("at", socket_mount, True), ("above", above, True), ("beside", beside, False)):
            identity = self.docker.create(name, host=host)
            _, answer = self.broker.ask("container", id=identity)
            self.assertEqual(answer["container"]["engine_socket"], expect, name)

    def test_a_broker_that_comes_later_hears_everything_again(self):
        self.engine.greeted()
        name = self.docker.create("kept", host=mounts("v1"))
        self.docker.start_container("kept")
        self.broker.expect(type="event", action="start")
        self.broker.close()
        time.sleep(0.3)
        second = self.engine.new_broker()
        second.greet(str(self.docker.data))
        self.assertEqual(second.expect(type="engine")["state"], "connected")
        self.assertEqual(second.expect(type="running")["id"], name)
        second.expect(type="synchronised")
        self.docker.remove("kept")
        self.assertEqual(second.expect(type="event", action="die")["id"], name)

    def test_the_list_of_users_of_the_driver_leaves_others_out(self):
        self.engine.greeted()
        ours = {self.docker.create(f"ours{i}", host=mounts(f"v{i}")) for i in range(5)}
        self.docker.create("theirs")
        frames, done = self.broker.ask("containers")
        self.assertIsNone(done["error"])
        self.assertEqual({frame["container"]["id"] for frame in frames}, ours)
        self.assertTrue(all(not f["container"]["running"] and not f["container"]["root_mounted"] for f in frames))


class Candidates(WithEngine):
    def ask_in_mount(self, volume="v1"):
        """What the engine says while dockerd waits in Mount: (candidates, error, seconds)."""
        heard = []

        def on_mount(name, mount_id):
            if name == volume:
                before = time.perf_counter()
                frames, error = self.broker.candidates(name)
                heard.append((frames, error, time.perf_counter() - before))

        bench.plugin.on_mount = on_mount
        return heard

    def test_the_container_that_starts_is_the_only_candidate(self):
        self.engine.greeted()
        heard = self.ask_in_mount()
        self.docker.create("stopped", host=mounts("v1"))
        running = self.docker.create("running", host=mounts("v1"))
        self.docker.start_container("running")
        name = self.docker.create("starting", host=mounts("v1"), User="app")
        heard.clear()
        self.docker.start_container("starting")
        frames, error, seconds = heard[0]
        self.assertIsNone(error)
        self.assertEqual([frame["container"]["id"] for frame in frames], [name])
        facts = frames[0]["container"]
        self.assertTrue(facts["announced"] and facts["root_mounted"] and not facts["running"])
        self.assertEqual(facts["user"], {"text": "app", "uid": 1000, "gid": 1001, "error": None})
        print(f"\n  candidates in a real Mount: {seconds * 1e6:.0f} us")
        self.assertNotEqual(running, name)

    def test_a_mount_of_docker_create_has_no_announced_candidate(self):
        self.engine.greeted()
        heard = self.ask_in_mount()
        self.docker.create("other", host=mounts("v1"))
        self.docker.create("fresh", host=mounts("v1", "/inside"))
        frames, error, _ = heard[0]
        self.assertIsNone(error)
        self.assertEqual([f for f in frames if f["container"]["announced"]], [])
        heard.clear()
        self.docker.start_container("fresh")
        self.assertEqual([f["container"]["announced"] for f in heard[0][0]], [True])

    def test_a_create_that_only_the_history_of_the_engine_tells_counts(self):
        """The event waits at the engine's end because nobody reads it; the engine itself is asked."""
        name = self.docker.create("before", host=mounts("v1"))
        self.engine.greeted()
        heard = self.ask_in_mount()
        self.docker.start_container("before")
        self.assertEqual([(f["container"]["id"], f["container"]["announced"]) for f in heard[0][0]], [(name, True)])

    def test_eight_that_start_together_are_all_candidates_and_nobody_else(self):
        self.engine.greeted()
        names = {self.docker.create(f"replica{i}", host=mounts("v1")): f"replica{i}" for i in range(8)}
        heard = self.ask_in_mount()
        threads = [threading.Thread(target=self.docker.start_container, args=(name,)) for name in names.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(heard), 8)
        for frames, error, _ in heard:
            self.assertIsNone(error)
            self.assertTrue(frames)
            self.assertTrue({frame["container"]["id"] for frame in frames} <= set(names))

    def test_the_bundle_names_the_mount_and_the_user(self):
        self.engine.greeted()
        mount_ids = []
        bench.plugin.on_mount = lambda volume, mount_id: mount_ids.append((mount_id, time.monotonic()))
        name = self.docker.create("bundled", host=mounts("v1"), User="app:web")
        starter = threading.Thread(target=self.docker.start_container, args=("bundled",))
        starter.start()
        frame = self.broker.expect(type="bundle")
        self.assertLess(time.monotonic() - mount_ids[-1][1], 1)
        starter.join()
        self.assertEqual((frame["id"], frame["mount_ids"]), (name, [mount_ids[-1][0]]))
        self.assertEqual((frame["uid"], frame["gid"]), (1000, 2000))
        self.assertEqual(self.broker.expect(type="event", action="start")["id"], name)

    def test_facts_that_fit_into_no_frame_are_an_error_with_a_name(self):
        self.engine.greeted()
        heard = self.ask_in_mount()
        labels = {f"label-{i:05}": "x" * 20 for i in range(10000)}
        name = self.docker.create("huge", host=mounts("v1"), Labels=labels)
        self.docker.start_container("huge")
        frames, error, _ = heard[0]
        self.assertIsNone(error)
        self.assertEqual([(f["id"], f["container"]) for f in frames], [(name, None)])
        self.assertIn("container 'huge'", frames[0]["error"])
        event = self.broker.expect(type="event", action="start")
        self.assertIsNone(event["container"])
        self.assertIn("huge", event["error"])

    def test_files_that_cannot_be_read_are_an_error_with_a_name(self):
        """An environment of more than 4 MiB: nobody can tell whether it uses the volume."""
        self.engine.greeted()
        heard = self.ask_in_mount()
        name = self.docker.create("vast", host=mounts("v1"), Env=["A=" + "x" * (5 << 20)])
        try:
            self.docker.start_container("vast")
        except RuntimeError:
            pass  # no program starts with such an environment
        frames, _, _ = heard[0]
        self.assertEqual([(f["id"], f["container"]) for f in frames], [(name, None)])
        self.assertIn("at most", frames[0]["error"])

    def test_a_thousand_questions_are_answered_quickly(self):
        self.engine.greeted()
        times = []

        def on_mount(volume, mount_id):
            for _ in range(1000):
                before = time.perf_counter()
                frames, error = self.broker.candidates(volume)
                times.append(time.perf_counter() - before)
                assert len(frames) == 1 and error is None

        for i in range(20):
            self.docker.create(f"other{i}", host=mounts("v1"))
        self.docker.create("asked", host=mounts("v1"))
        bench.plugin.on_mount = on_mount
        self.docker.start_container("asked")
        self.assertEqual(len(times), 1000)
        print(f"\n  candidates, 1,000 times, round trip from Python with 20 stopped containers of the volume: "
              f"median {statistics.median(times) * 1e6:.0f} us, p99 {sorted(times)[989] * 1e6:.0f} us")


class Sandbox(WithEngine):
    def test_twenty_containers_later_it_lives_without_a_privilege(self):
        self.engine.greeted()
        threads = []
        for i in range(20):
            self.docker.create(f"many{i}", host=mounts(f"v{i % 3}"), command=("true",), User=("", "app", "5")[i % 3])
            threads.append(threading.Thread(target=self.docker.start_container, args=(f"many{i}",)))
            threads[-1].start()
            if i % 4 == 3:
                for thread in threads:
                    thread.join()
                threads = []
        for _ in range(20):
            self.broker.expect(type="event", action="die")
        self.broker.ask("containers")
        beats = self.engine.heartbeats
        wait_until(lambda: self.engine.heartbeats > beats + 1)
        self.assertEqual(int(self.engine.state("CapEff"), 16) | int(self.engine.state("CapPrm"), 16)
                         | int(self.engine.state("CapBnd"), 16), 0)
        self.assertEqual((self.engine.state("Seccomp"), self.engine.state("NoNewPrivs")), ("2", "1"))
        print(f"\n  memory after 20 containers: PSS {self.engine.proportional_kib()} KiB")


class HealthAndRestarts(WithEngine):
    def test_what_its_check_says_is_told_and_stands_in_its_facts(self):
        self.engine.greeted()
        check = {"Test": ["CMD-SHELL", "test -e /run/fine"], "Interval": 500 * 10 ** 6, "Retries": 1}
        name = self.docker.create("checked", host=mounts("v1"), Healthcheck=check,
                                  command=("sh", "-c", ">/run/fine; while test ! -e /run/ill; do sleep 0.1; done; "
                                           "busybox rm /run/fine; sleep 300"))
        self.docker.start_container("checked")
        event = self.broker.expect(type="event", action="start", id=name)
        self.assertEqual(event["container"]["health"], "starting")
        self.assertEqual(self.broker.expect(type="event", action="healthy")["id"], name)
        _, answer = self.broker.ask("container", id=name)
        self.assertEqual(answer["container"]["health"], "healthy")
        pathlib.Path(f"/proc/{answer['container']['pid']}/root/run/ill").touch()
        self.assertEqual(self.broker.expect(type="event", action="unhealthy")["id"], name)
        _, answer = self.broker.ask("container", id=name)
        self.assertEqual(answer["container"]["health"], "unhealthy")
        # Without a check, and when it does not run, there is nothing to say.
        self.docker.call("POST", "/containers/checked/stop?t=0")
        for identity in (name, self.docker.create("unchecked", host=mounts("v1"))):
            _, answer = self.broker.ask("container", id=identity)
            self.assertEqual(answer["container"]["health"], "")

    def test_a_restart_is_told_as_an_end_and_a_start_and_mounts_meanwhile(self):
        self.engine.greeted()
        name = self.docker.create("again", host=mounts("v1"), StopSignal="SIGKILL")
        self.docker.start_container("again")
        before = self.broker.expect(type="event", action="start")["pid"]
        heard = []
        bench.plugin.on_mount = lambda volume, mount_id: heard.append(self.broker.candidates(volume))
        started = time.monotonic()
        self.assertIsNone(self.broker.restart(name, timeout_s=10))
        seconds = time.monotonic() - started
        self.assertEqual(self.broker.expect(type="event", action="die")["id"], name)
        event = self.broker.expect(type="event", action="start")
        self.assertEqual(event["id"], name)
        self.assertNotIn(event["pid"], (0, before))
        self.assertFalse(pathlib.Path(f"/proc/{before}").exists())
        frames, error = heard[-1]
        self.assertEqual([frame["container"]["id"] for frame in frames], [name])
        self.assertIsNone(error)
        print(f"\n  restart of a container that ends at once: {seconds * 1e3:.0f} ms")

    def test_a_container_that_does_not_end_by_itself_gets_its_time(self):
        self.engine.greeted()
        name = self.docker.create("deaf", StopTimeout=2)
        self.docker.start_container("deaf")
        before = self.broker.expect(type="event", action="start")["pid"]
        started = time.monotonic()
        self.assertIsNone(self.broker.restart(name, timeout_s=60))
        self.assertLess(time.monotonic() - started, 8)
        self.assertGreaterEqual(time.monotonic() - started, 1.9)
        self.broker.expect(type="event", action="die")
        self.assertNotEqual(self.broker.expect(type="event", action="start")["pid"], before)

    def test_a_restart_of_what_is_not_there_or_cannot_start_is_the_engines_message(self):
        self.engine.greeted()
        self.assertEqual(self.broker.restart("0" * 64), "No such container: " + "0" * 64)

        def on_mount(volume, mount_id):
            raise RuntimeError("this volume is not given")

        name = self.docker.create("refused", host=mounts("v1"), StopSignal="SIGKILL")
        self.docker.start_container("refused")
        bench.plugin.on_mount = on_mount
        self.assertIn("this volume is not given", self.broker.restart(name))

    def test_twenty_restarts_at_once_all_happen(self):
        self.engine.greeted()
        names = [self.docker.create(f"crowd{i}", host=mounts("v1"), StopSignal="SIGKILL") for i in range(20)]
        for name in names:
            self.docker.start_container(name)
            self.broker.expect(type="event", action="start", id=name)
        for serial, name in enumerate(names):
            self.broker.send(type="restart", serial=9000 + serial, id=name, timeout_s=5)
        seen, done = [], {}
        while len(done) < 20 or len(seen) < 20:
            frame = self.broker.next(30)
            if frame["type"] == "done":
                done[frame["serial"] - 9000] = frame["error"]
            if frame.get("action") == "start":
                seen.append(frame["id"])
        self.assertEqual(done, {i: None for i in range(20)})
        self.assertEqual(sorted(seen), sorted(names))


class Pressure(unittest.TestCase):
    def test_a_broker_that_does_not_read_costs_no_memory(self):
        engine = bench.engine(reading=False)
        labels = {f"label-{i}": "x" * 100 for i in range(1500)}
        for i in range(6):
            bench.docker.create(f"wide{i}", host=mounts("v1"), Labels=labels)
        try:
            engine.broker.greet()
            for serial in range(200):
                engine.broker.send(type="containers", serial=10000 + serial)
            time.sleep(2)
            beats = engine.heartbeats
            for i in range(8):
                bench.docker.create(f"noise{i}", command=("true",))
                bench.docker.start_container(f"noise{i}")
            kib = engine.proportional_kib()
            print(f"\n  memory with 200 x 6 x 180 KiB of unread answers: PSS {kib} KiB")
            # The sanitizers' runtime keeps what was freed.
            if b"__asan_init" not in pathlib.Path(BINARY).read_bytes():
                self.assertLess(kib, 48 * 1024)
            self.assertGreater(engine.heartbeats, beats)
            self.assertIsNone(engine.poll())
            engine.broker.read()
            done, synchronised = 0, False
            while done < 200 or not synchronised:
                kind = engine.broker.next(30)["type"]
                done += kind == "done"
                synchronised |= kind == "synchronised"
            for i in range(8):
                bench.docker.remove(f"noise{i}")
            engine.broker.expect(type="event", action="destroy")
        finally:
            self.assertEqual(engine.stop(), 0)
            for container in bench.docker.containers():
                bench.docker.remove(container["Id"])


class Restarts(unittest.TestCase):
    """The engine, the socket or mayfly-engine itself goes away and comes back."""

    def setUp(self):
        bench.plugin.on_mount = lambda volume, mount_id: None
        self.docker = bench.docker

    def tearDown(self):
        bench.plugin.on_mount = lambda volume, mount_id: None
        for container in self.docker.containers():
            self.docker.remove(container["Id"])

    def test_killed_and_started_again_it_tells_the_same(self):
        engine = bench.engine().greeted()
        name = self.docker.create("survivor", host=mounts("v1"))
        self.docker.start_container("survivor")
        before = engine.broker.expect(type="event", action="start")["container"]
        engine.kill()
        engine = bench.engine()
        engine.broker.greet(str(self.docker.data))
        after = engine.broker.expect(type="running")
        self.assertEqual((after["id"], after["container"]), (name, before))
        engine.broker.expect(type="synchronised")
        self.assertEqual(engine.stop(), 0)

    def test_an_engine_that_is_absent_is_waited_for(self):
        docker = Docker(tempfile.mkdtemp(prefix="absent-", dir=bench.base))
        engine = bench.engine(docker)
        try:
            engine.broker.greet()
            frame = engine.broker.expect(type="engine", state="waiting")
            while "No such file" not in frame["detail"]:
                frame = engine.broker.expect(type="engine", state="waiting")
            self.assertIsNone(frame["version"])
            frames, error = engine.broker.candidates("v1")
            self.assertEqual(frames, [])
            self.assertIn("directory is not known", error)
            docker.start()
            self.assertEqual(engine.broker.expect(type="engine", state="connected")["data_root"], str(docker.data))
            engine.broker.expect(type="synchronised")
            docker.stop()
            engine.broker.expect(type="engine", state="waiting")
            docker.start()
            engine.broker.expect(type="engine", state="connected")
            engine.broker.expect(type="synchronised")
            self.assertEqual(engine.stop(), 0)
        finally:
            docker.destroy()

    def test_another_engine_at_the_same_socket_needs_another_process(self):
        base = tempfile.mkdtemp(prefix="moved-", dir=bench.base)
        first, second = Docker(base, "data1"), Docker(base, "data2")
        first.start()
        engine = bench.engine(first).greeted()
        try:
            first.stop()
            second.start()
            frame = engine.broker.expect(type="engine", state="connected")
            self.assertEqual(frame["data_root"], str(second.data))
            self.assertEqual(engine.wait(), 1)
        finally:
            engine.stop()
            second.destroy()

    def test_a_booting_engine_mounts_before_it_answers_and_is_answered_all_the_same(self):
        self.boot(fresh=False)

    def test_a_booting_engine_is_answered_by_a_process_that_knows_nothing_but_its_directory(self):
        self.boot(fresh=True)

    def boot(self, fresh):
        for name, volume in (("eager1", "v1"), ("eager2", "v2")):
            self.docker.create(name, host={**mounts(volume), "RestartPolicy": {"Name": "always"}}, StopSignal="SIGKILL")
        engine = bench.engine().greeted()
        for name in ("eager1", "eager2"):
            self.docker.start_container(name)
            engine.broker.expect(type="event", action="start")
        heard, started = {}, threading.Event()

        def on_mount(volume, mount_id):
            heard[volume] = (mount_id, self.docker.answers(0.3), engine.broker.candidates(volume))
            # The second one holds the boot up until the first one was seen to start.
            if volume == "v2":
                started.wait(15)

        try:
            self.docker.stop(signal.SIGKILL)
            self.docker.stop_containerd()
            engine.broker.expect(type="engine", state="waiting")
            if fresh:
                engine.stop()
                engine = bench.engine()
                engine.broker.greet(str(self.docker.data))
            bench.plugin.on_mount = on_mount
            self.docker.start(wait=False)
            bundle = engine.broker.expect(type="bundle", timeout=40)
            event = engine.broker.expect(type="event", action="start", timeout=20)
            started.set()
            wait_until(self.docker.answers, 60)
            engine.broker.expect(type="engine", state="connected", timeout=30)
            engine.broker.expect(type="synchronised")
            self.assertFalse(heard["v1"][1], "the API answered: this is no boot")
            frames, error = heard["v1"][2]
            self.assertIsNone(error)
            self.assertEqual([(f["container"]["name"], f["container"]["announced"]) for f in frames],
                             [("eager1", True)])
            self.assertEqual(bundle["mount_ids"], [heard["v1"][0]])
            self.assertEqual((event["source"], event["id"]), ("bundle", frames[0]["id"]))
            self.assertTrue(event["container"]["running"])
        finally:
            started.set()
            self.assertEqual(engine.stop(), 0)
            if not self.docker.answers():
                self.docker.stop()
                self.docker.start()


class Root(WithEngine):
    def test_an_engine_in_its_own_mount_namespace_is_seen_from_there(self):
        """Its overlays are mounted where this process cannot see them."""
        docker = Docker(tempfile.mkdtemp(prefix="apart-", dir=bench.base))
        docker.start(before=("unshare", "--mount", "--propagation", "private"))
        engine = bench.engine(docker)
        heard = []
        bench.plugin.on_mount = lambda volume, mount_id: heard.append(engine.broker.candidates(volume))
        try:
            docker.import_image("mayfly-test")
            engine.greeted()
            name = docker.create("apart", host=mounts("v1", "/var/run/secrets"), User="app")
            docker.start_container("apart")
            self.assertEqual(heard.pop()[0], [])
            docker.call("POST", "/containers/apart/stop?t=0")
            root = os.open(f"/proc/{docker.process.pid}/root", os.O_PATH)
            engine.broker.send(descriptor=root, type="root")
            os.close(root)
            engine.broker.expect(type="synchronised")
            docker.start_container("apart")
            facts = heard.pop()[0][0]["container"]
            self.assertEqual((facts["id"], facts["root_mounted"], facts["user"]["uid"]), (name, True, 1000))
            self.assertEqual(facts["volumes"], [{"name": "v1", "target": "run/secrets"}])
            engine.broker.expect(type="bundle", id=name)
            self.assertIsNone(engine.poll())
        finally:
            engine.stop()
            docker.destroy()

    def test_the_same_root_is_taken_and_another_ends_the_process(self):
        self.engine.greeted()
        name = self.docker.create("rooted", host=mounts("v1"))
        root = os.open("/", os.O_PATH)
        try:
            self.broker.send(descriptor=root, type="root")
        finally:
            os.close(root)
        self.broker.expect(type="synchronised")
        _, answer = self.broker.ask("container", id=name)
        self.assertEqual(answer["container"]["name"], "rooted")
        elsewhere = os.open(bench.base, os.O_PATH)
        second = bench.engine().greeted()
        try:
            second.broker.send(descriptor=elsewhere, type="root")
            self.assertEqual(second.wait(), 1)
        finally:
            os.close(elsewhere)
            second.stop()

    def test_rules_that_the_broker_breaks_end_the_process(self):
        for frames in ([{"type": "candidates", "serial": 1, "volume": "v"}], [{"type": "hello", "data_root": "x"}],
                       [{"type": "hello", "data_root": None}, {"type": "container", "serial": 1, "id": "../../etc"}],
                       [{"type": "hello", "data_root": None}, {"type": "root"}],
                       *([{"type": "hello", "data_root": None}, {"type": "restart", "serial": 1, **wrong}]
                         for wrong in ({"id": "web", "timeout_s": 1}, {"id": "A" * 64, "timeout_s": 1},
                                       {"id": "0" * 63 + "/", "timeout_s": 1}, {"id": "0" * 64, "timeout_s": -1},
                                       {"id": "0" * 64, "timeout_s": 3601}, {"id": "0" * 64})),
                       [{"type": "hello", "data_root": None}, {"type": "candidates", "serial": "1", "volume": "v"}],
                       [{"type": "hello", "data_root": None}, {"type": "hello", "data_root": None}],
                       [{"nothing": 1}]):
            with self.subTest(frames):
                engine = bench.engine()
                for frame in frames:
                    engine.broker.send(**frame)
                self.assertEqual(engine.wait(), 1)
                engine.stop()


def missing():
    lacking = [program for program in ("dockerd", "containerd", "runc", "busybox") if not shutil.which(program)]
    return lacking + (["root"] if os.geteuid() != 0 else [])


if __name__ == "__main__":
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if missing():
        print("skipped, missing:", ", ".join(missing()))
        sys.exit(1 if os.environ.get("MAYFLY_TESTS_MUST_RUN") else 77)
    unittest.main(argv=[sys.argv[0]] + sys.argv[2:], verbosity=2)
