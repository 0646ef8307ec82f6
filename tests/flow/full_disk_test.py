"""A disk that fills up under the running service, and under its start.

What was acknowledged stays, what cannot be made durable is refused, and the service goes on by itself when there is
room again. The state directory is a small tmpfs here.
"""

import os
import subprocess
import unittest

import alone
import harness

SIZE = 3 << 20


class FullDisk(unittest.TestCase):
    def setUp(self):
        harness.need(os.geteuid() == 0, "it needs root")
        self.mayfly = alone.Mayfly("full")
        self.addCleanup(self.mayfly.close)
        state = self.mayfly.state()
        state.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "mayfly-full", state], check=True)
        self.mayfly.config_with(allow_reveal=True)
        self.mayfly.start()
        self.filler = self.mayfly.state("filler")
        self.mayfly.put("prod/before", "before")
        with self.mayfly.plugin() as plugin:
            plugin.post("VolumeDriver.Create", {"Name": "before", "Opts": {"grant": "web"}})
        self.broker = self.mayfly.child("mayfly-broker")

    def fill(self, leave=0):
        with open(self.filler, "wb", buffering=0) as file:
            try:
                while file.write(b"f" * 4096) == 4096:
                    pass
            except OSError:
                pass
        os.truncate(self.filler, max(0, self.filler.stat().st_size - leave))

    def make_room(self):
        self.filler.unlink()

    def put(self, name, value):
        return self.mayfly.cli("put", name, "--exact", value=value)

    def check_before(self):
        self.assertEqual(self.mayfly.cli("reveal", "prod/before").stdout, b"before")
        with self.mayfly.plugin() as plugin:
            self.assertEqual(
                plugin.post("VolumeDriver.Get", {"Name": "before"}).json["Volume"]["Status"]["grant"], "web"
            )
        self.assertEqual(self.mayfly.child("mayfly-broker"), self.broker, self.mayfly.log_text()[-2000:])

    def test_a_put_without_room_is_refused_and_goes_through_once_there_is(self):
        self.fill()
        value = os.urandom(50000)
        for _ in range(3):
            result = self.put("prod/large", value)
            self.assertEqual(result.returncode, 1)
            self.assertRegex(result.stderr.decode(), "the disk is full|No space left on device")
            self.assertIn(b"nothing was", result.stderr)
        self.check_before()
        self.assertIn("there is no secret prod/large", self.mayfly.cli("show", "prod/large").stderr.decode())
        self.make_room()
        self.assertEqual(self.put("prod/large", value).returncode, 0)
        self.assertEqual(self.mayfly.cli("reveal", "prod/large").stdout, value)

    def test_a_volume_that_cannot_be_remembered_is_refused(self):
        self.fill()
        with self.mayfly.plugin() as plugin:
            names = []
            for i in range(200):  # what is left of the last page is used up first
                answer = plugin.post("VolumeDriver.Create", {"Name": f"volume-{i}", "Opts": {"grant": "g" * 100}})
                if answer.status != 200:
                    break
                names.append(f"volume-{i}")
            self.assertEqual(answer.status, 500)
            self.assertIn("the disk is full", answer.error)
            self.assertEqual(plugin.post("VolumeDriver.Get", {"Name": f"volume-{i}"}).status, 500)
            self.check_before()
            self.make_room()
            self.assertEqual(plugin.post("VolumeDriver.Create", {"Name": f"volume-{i}"}).status, 200)
        self.mayfly.kill_all()
        self.mayfly.start(init=False)
        with self.mayfly.plugin() as plugin:
            listed = [v["Name"] for v in plugin.post("VolumeDriver.List", {}).json["Volumes"]]
        self.assertEqual(sorted(listed), sorted([*names, f"volume-{i}", "before"]))

    def test_nothing_is_done_that_cannot_be_recorded(self):
        """The audit file is full: a reveal, which only reads, is refused."""
        self.fill()
        for _ in range(400):
            result = self.mayfly.cli("reveal", "prod/before")
            if result.returncode:
                break
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        self.assertIn(b"the audit record could not be written", result.stderr)
        self.assertIn(b"nothing was done", result.stderr)
        self.assertIn(
            b"1 line, no final newline", self.mayfly.cli("show", "prod/before").stdout
        )  # that is not recorded
        self.assertEqual(self.mayfly.cli("remove", "prod/before", "--yes").returncode, 1)
        self.make_room()
        self.check_before()
        self.assertIn(b"proved", self.mayfly.cli("audit", "verify").stdout)

    def test_no_acknowledged_write_is_lost_when_the_disk_fills_up_and_all_is_killed(self):
        acknowledged = {}
        self.fill(leave=400 * 1024)
        refused = i = 0
        while refused < 6:
            name, value = f"prod/n{i}", os.urandom(700).hex().encode()
            if self.put(name, value).returncode == 0:
                acknowledged[name] = value
            else:
                refused += 1
            i += 1
            self.assertLess(i, 2000)
        self.assertGreater(len(acknowledged), 10)
        self.mayfly.kill_all()
        self.make_room()
        self.mayfly.start(init=False)
        self.assertEqual({name: self.mayfly.cli("reveal", name).stdout for name in acknowledged}, acknowledged)
        self.assertIn(b"proved", self.mayfly.cli("audit", "verify").stdout)
        self.assertEqual(self.put("prod/later", b"later").returncode, 0)

    def test_a_broker_that_dies_while_the_disk_is_full_is_there_again_when_there_is_room(self):
        self.fill()
        self.mayfly.kill("mayfly-broker")
        alone.wait_for(lambda: "No space left on device" in self.mayfly.log_text(), "the start says what is missing")
        self.make_room()
        alone.wait_for(lambda: self.mayfly.status(), "the broker is there again", 30)
        self.broker = self.mayfly.child("mayfly-broker")
        self.check_before()

    def test_a_start_without_room_says_so(self):
        self.mayfly.stop()
        self.fill()
        code, said = self.mayfly.start_badly()
        self.assertEqual(code, 1)
        self.assertRegex(said, "No space left on device|the disk is full")
        self.make_room()
        self.mayfly.start(init=False)
        self.broker = self.mayfly.child("mayfly-broker")
        self.check_before()
