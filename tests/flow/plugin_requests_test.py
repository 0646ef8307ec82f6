"""Requests on the plugin socket that no good engine sends. A volume that was known is known, unchanged, after each."""

import json
import os
import socket
import threading
import time

import alone
from alone import request

EMPTY = b"empty request"


class PluginRequests(alone.AloneCase):
    tag = "plugin"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        with cls.mayfly.plugin() as plugin:
            assert plugin.post("VolumeDriver.Create", {"Name": "known", "Opts": {"grant": "web"}}).status == 200

    def setUp(self):
        super().setUp()
        self.addCleanup(self.check_known)

    def check_known(self):
        with self.mayfly.plugin() as plugin:
            answer = plugin.post("VolumeDriver.Get", {"Name": "known"})
            self.assertEqual(
                (answer.status, answer.json["Volume"]["Name"], answer.json["Volume"]["Status"]["grant"]),
                (200, "known", "web"),
            )
            names = [v["Name"] for v in plugin.post("VolumeDriver.List", {}).json["Volumes"]]
            self.assertEqual(names, ["known"])

    def sends(self, data, status, *words, half=False):
        """The first answer to DATA has STATUS and all WORDS in its error."""
        with self.mayfly.plugin() as plugin:
            plugin.send(data)
            if half:
                plugin.socket.shutdown(socket.SHUT_WR)
            answer = plugin.answer()
        self.assertEqual(answer.status, status, answer.body)
        for word in words:
            self.assertIn(word, answer.error)
        return answer

    def test_an_empty_body_is_refused_where_a_name_is_needed(self):
        for endpoint in ("Create", "Remove", "Get", "Path", "Mount", "Unmount"):
            with self.subTest(endpoint):
                answer = self.sends(request(f"VolumeDriver.{endpoint}", b""), 400, "empty request")
                self.assertIn("retry", answer.error)

    def test_an_empty_body_is_fine_where_none_is_needed(self):
        for endpoint, key in (
            ("Plugin.Activate", "Implements"),
            ("VolumeDriver.List", "Volumes"),
            ("VolumeDriver.Capabilities", "Capabilities"),
        ):
            with self.subTest(endpoint):
                self.assertIn(key, self.sends(request(endpoint, b""), 200).json)

    def test_a_body_that_is_no_json_object_is_refused(self):
        for body in (
            b"x",
            b"null",
            b"[]",
            b'"known"',
            b'{"Name":',
            b'{"Name":"a","Name":"b"}',
            b"{}{}",
            b"\xff",
            b'{"Name":"a"}\0',
            b'{"Name":"a\\u0000b"}',
            b"[" * 5000,
        ):
            with self.subTest(body[:20]):
                self.sends(request("VolumeDriver.Get", body), 400, "no JSON object")

    def test_a_request_without_a_name_or_with_one_that_is_no_text_is_refused(self):
        for body in ({}, {"Name": None}, {"Name": 1}, {"Name": ["known"]}, {"name": "known"}):
            with self.subTest(body):
                self.sends(request("VolumeDriver.Mount", body), 400, "names no volume")

    def test_an_unknown_endpoint_method_or_version_is_refused(self):
        self.sends(request("VolumeDriver.Destroy", {"Name": "known"}), 404, "no such endpoint")
        self.sends(request("SecretProvider.GetSecret", {}), 404)
        self.sends(request("volumedriver.get", {"Name": "known"}), 404)
        self.sends(request("VolumeDriver.Get/", {"Name": "known"}), 404)
        self.sends(request("VolumeDriver.Get", {"Name": "known"}, method="PUT"), 405, "POST")
        self.sends(b"GET /VolumeDriver.List HTTP/1.1\r\nHost: x\r\n\r\n", 405, "POST")
        self.sends(request("VolumeDriver.List", b"", version="2.0"), 505)
        self.sends(b"POST  HTTP/1.1\r\n\r\n", 400)
        self.sends(b"nonsense\r\n\r\n", 400)

    def test_unknown_members_and_null_options_are_taken(self):
        with self.mayfly.plugin() as plugin:
            answer = plugin.post("VolumeDriver.Create", {"Name": "odd", "Opts": None, "Later": {"a": [1]}})
            self.assertEqual((answer.status, answer.error), (200, ""))
            answer = plugin.post("VolumeDriver.Get", {"Name": "odd", "Later": 1})
            self.assertEqual(answer.json["Volume"]["Status"]["grant"], "")
            # The same once more, said in another way, is the same.
            for options in ({}, {"Opts": {}}, {"Opts": None}):
                self.assertEqual(plugin.post("VolumeDriver.Create", {"Name": "odd", **options}).status, 200)
            answer = plugin.post("VolumeDriver.Create", {"Name": "odd", "Opts": {"grant": "web"}})
            self.assertEqual(answer.status, 500)
            self.assertIn("exists with other options", answer.error)
            self.assertEqual(plugin.post("VolumeDriver.Remove", {"Name": "odd"}).status, 200)

    def test_options_that_are_not_known_or_no_text_are_refused(self):
        for options, words in (
            ({"grnt": "web"}, "grant"),
            ({"size": "1m"}, "grant"),
            ({"grant": 1}, "grant"),
            ([], "option"),
            ("grant=web", "option"),
        ):
            with self.subTest(options):
                answer = self.sends(request("VolumeDriver.Create", {"Name": "never", "Opts": options}), 500)
                self.assertIn(words, answer.error)

    def test_names_that_are_no_volume_names_are_refused(self):
        names = (
            "",
            "..",
            "../../x",
            "a/b",
            "/etc",
            "a\nb",
            "a\tb",
            " a",
            "-a",
            ".a",
            "\u00e4",
            "a" * 256,
            "a\u2028b",
            "\\x00",
            "a b",
        )
        for name in names:
            with self.subTest(name[:20]):
                answer = self.sends(request("VolumeDriver.Create", {"Name": name}), 500)
                self.assertTrue(answer.error.isascii() and answer.error.isprintable(), answer.error)
                self.sends(request("VolumeDriver.Get", {"Name": name}), 500, "no such volume")
                self.sends(request("VolumeDriver.Mount", {"Name": name, "ID": "ab" * 32}), 500, "no such volume")
                # A Remove or Unmount of what is not there has what it wants.
                self.assertEqual(
                    self.sends(request("VolumeDriver.Unmount", {"Name": name, "ID": "cd" * 32}), 200).error, ""
                )

    def test_the_longest_name_is_taken(self):
        with self.mayfly.plugin() as plugin:
            name = "a" * 255
            self.assertEqual(plugin.post("VolumeDriver.Create", {"Name": name}).status, 200)
            self.assertEqual(plugin.post("VolumeDriver.Get", {"Name": name}).json["Volume"]["Name"], name)
            self.assertEqual(plugin.post("VolumeDriver.Remove", {"Name": name}).status, 200)

    def test_a_mount_id_that_is_none_is_refused(self):
        for mount in ("", "ab", "AB" * 32, "ab" * 33, "../" * 22, "g" * 64, None, 5):
            with self.subTest(mount):
                answer = self.sends(request("VolumeDriver.Mount", {"Name": "known", "ID": mount}), 500)
                self.assertIn("a mount id is 64 hex digits", answer.error)

    def test_lengths_that_do_not_fit_are_refused(self):
        body = b'{"Name":"known"}'
        get = request("VolumeDriver.Get", body)
        length = b"Content-Length: %d" % len(body)
        self.sends(get.replace(length, b"Content-Length: 3\r\n" + length), 400)
        self.assertEqual(
            self.sends(get.replace(length, length + b"\r\n" + length), 200).json["Volume"]["Name"], "known"
        )
        for bad in (b"-1", b"+16", b"0x10", b"16 16", b"16,16", b"", b"1e3", b"\xd9\xa1"):
            with self.subTest(bad):
                self.sends(get.replace(length, b"Content-Length: " + bad), 400)
        for large in (b"65537", b"99999999999999999999", b"4294967312"):
            with self.subTest(large):
                self.sends(get.replace(length, b"Content-Length: " + large), 413)
        self.sends(get.replace(length + b"\r\n", b""), 411)
        self.sends(get.replace(length, length + b"\r\nTransfer-Encoding: chunked"), 501)
        self.sends(
            b"POST /VolumeDriver.Get HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n" + body + b"\r\n0\r\n\r\n",
            501,
        )

    def test_a_head_that_is_too_large_or_malformed_is_refused(self):
        self.sends(b"POST /" + b"a" * 20000 + b" HTTP/1.1\r\n\r\n", 414)
        self.sends(b"a" * 20000, 414)
        self.sends(request("VolumeDriver.List", b"", "X: " + "a" * 20000), 431)
        self.sends(request("VolumeDriver.List", b"", *[f"X{i}: a" for i in range(3000)]), 431)
        for line in ("no colon", " folded: a", "\tfolded: a"):
            with self.subTest(line):
                self.sends(request("VolumeDriver.List", b"", line), 400)

    def test_the_largest_body_is_read_whole(self):
        body = json.dumps({"Name": "known", "Padding": ""}).encode()
        body = body.replace(b'""', b'"' + b"p" * (65536 - len(body)) + b'"')
        self.assertEqual(self.sends(request("VolumeDriver.Get", body), 200).json["Volume"]["Name"], "known")

    def test_http_1_0_and_connection_close_end_the_connection(self):
        for data in (
            request("VolumeDriver.Get", {"Name": "known"}, version="1.0"),
            request("VolumeDriver.Get", {"Name": "known"}, "Connection: close"),
            request("VolumeDriver.Get", {"Name": "known"}, "connection:CLOSE"),
        ):
            with self.mayfly.plugin() as plugin:
                plugin.send(data)
                answer = plugin.answer()
                self.assertEqual((answer.status, answer.headers.get("connection")), (200, "close"))
                self.assertTrue(plugin.ended())

    def test_a_client_that_expects_to_be_told_to_continue_is_told(self):
        body = b'{"Name":"known"}'
        data = request("VolumeDriver.Get", body, "Expect: 100-continue")
        with self.mayfly.plugin() as plugin:
            plugin.send(data[: -len(body)])
            self.assertEqual(plugin.answer().status, 100)
            plugin.send(body)
            self.assertEqual(plugin.answer().json["Volume"]["Name"], "known")
            # When the body is there already, nobody needs to be told.
            plugin.send(data)
            self.assertEqual(plugin.answer().status, 200)

    def test_requests_that_are_sent_ahead_are_answered_in_order(self):
        order = [
            ("VolumeDriver.Get", {"Name": "known"}),
            ("Plugin.Activate", b""),
            ("VolumeDriver.Get", {"Name": "none"}),
            ("VolumeDriver.Create", {"Name": "ahead"}),
            ("VolumeDriver.Get", {"Name": "ahead"}),
            ("VolumeDriver.Remove", {"Name": "ahead"}),
            ("VolumeDriver.Get", {"Name": "ahead"}),
        ] * 20
        with self.mayfly.plugin() as plugin:
            plugin.send(b"".join(request(*one) for one in order))
            answers = [plugin.answer() for _ in order]
        self.assertEqual([a.status for a in answers], [200, 200, 500, 200, 200, 200, 500] * 20)
        self.assertEqual(answers[4].json["Volume"]["Name"], "ahead")

    def test_a_request_that_comes_byte_by_byte_is_answered(self):
        with self.mayfly.plugin() as plugin:
            for byte in request("VolumeDriver.Get", {"Name": "known"}):
                plugin.send(bytes([byte]))
                time.sleep(0.002)
            self.assertEqual(plugin.answer().json["Volume"]["Name"], "known")

    def test_a_request_that_does_not_end_is_cut_off_after_ten_seconds(self):
        """One byte a second, and half a request and silence; others are served meanwhile."""
        slow, silent, idle = self.mayfly.plugin(), self.mayfly.plugin(), self.mayfly.plugin()
        data = request("VolumeDriver.Get", {"Name": "known"})
        begun = time.monotonic()
        silent.send(data[:50])
        slow.socket.settimeout(1)
        answer = b""
        for byte in data:
            slow.send(bytes([byte]))
            self.check_known()
            try:
                answer = slow.socket.recv(4096)
                break
            except socket.timeout:
                self.assertLess(time.monotonic() - begun, 25)
        self.assertGreater(time.monotonic() - begun, 8)
        self.assertIn(b" 408 ", answer)
        self.assertEqual(silent.answer().status, 408)
        self.assertTrue(silent.ended())
        # A connection on which nothing was asked may stay: engines keep theirs.
        self.assertEqual(idle.post("VolumeDriver.Get", {"Name": "known"}).status, 200)
        for connection in (slow, silent, idle):
            connection.socket.close()

    def test_half_a_request_and_then_the_end_leaves_nothing(self):
        data = request("VolumeDriver.Create", {"Name": "half"})
        for length in (1, 10, 60, len(data) - 1):
            with self.mayfly.plugin() as plugin:
                plugin.send(data[:length])
                plugin.socket.shutdown(socket.SHUT_WR)
                self.assertTrue(plugin.ended())

    def test_a_client_that_reads_no_answers_holds_nobody_up(self):
        with self.mayfly.plugin() as deaf:
            deaf.socket.setblocking(False)
            block = request("VolumeDriver.List", {}) * 100
            sent = 0
            try:
                for _ in range(2000):
                    sent += deaf.socket.send(block)
            except (BlockingIOError, BrokenPipeError, ConnectionResetError):
                pass
            self.assertGreater(sent, 100000)
            self.check_known()
            self.assertLess(self.mayfly.rss_kib(), 128 * 1024)

    def test_three_hundred_connections_are_all_served(self):
        """The engine keeps many; those above the limit wait their turn in the kernel's queue."""
        held = [self.mayfly.plugin() for _ in range(250)]
        answered = []

        def ask(plugin):
            answered.append(plugin.post("VolumeDriver.Get", {"Name": "known"}).status)
            plugin.socket.close()

        more = [self.mayfly.plugin() for _ in range(50)]
        threads = [threading.Thread(target=ask, args=(plugin,)) for plugin in held + more]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(alone.NEW_CONNECTION)
        self.assertEqual(answered, [200] * 300)

    def test_thirty_mounts_at_once_without_an_engine_are_refused_with_the_reason(self):
        """Nobody can say who mounts: no path is answered, at once, and the next engine finds nothing left."""
        plugins = [self.mayfly.plugin() for _ in range(30)]
        for i, plugin in enumerate(plugins):
            plugin.send(request("VolumeDriver.Mount", {"Name": "known", "ID": f"{i:02x}" * 32}))
        answers = [plugin.answer() for plugin in plugins]
        for plugin in plugins:
            plugin.socket.close()
        self.assertEqual(
            {(a.status, a.error) for a in answers},
            {
                (
                    500,
                    "mayfly: the engine has not answered Mayfly yet, so its directory "
                    "is not known; see `mayfly status`",
                )
            },
        )
        text = self.done("explain")
        self.assertIn("(unknown container): refused", text)
        self.assertIn("  volume known\n", text)
        self.assertIn("volume known: the engine has not answered", self.mayfly.log_text())
        self.assertEqual(os.listdir(self.mayfly.root / "run/mayfly-volumes"), [])
        self.assertEqual(self.mayfly.status()["armed"], 0)

    def test_clients_that_leave_during_a_mount_leave_nothing(self):
        for i in range(30):
            with self.mayfly.plugin() as plugin:
                plugin.send(request("VolumeDriver.Mount", {"Name": "known", "ID": f"{i + 100:02x}" * 32}))
        self.check_known()
        self.assertEqual(os.listdir(self.mayfly.root / "run/mayfly-volumes"), [])
        self.assertEqual(self.mayfly.status()["armed"], 0)

    def test_descriptors_that_come_with_a_request_are_closed(self):
        def count():
            return len(os.listdir(f"/proc/{self.broker}/fd"))

        self.check_known()
        before = count()
        with self.mayfly.plugin() as plugin, open("/dev/null") as null:
            for _ in range(20):
                plugin.send(request("VolumeDriver.Get", {"Name": "known"}), [null.fileno()] * 10)
                self.assertEqual(plugin.answer().status, 200)
            self.assertLessEqual(count(), before + 1)
        alone.wait_for(lambda: count() <= before, "the connection's descriptor is gone")

    def test_a_volume_survives_a_kill_right_after_its_answer(self):
        with self.mayfly.plugin() as plugin:
            self.assertEqual(
                plugin.post("VolumeDriver.Create", {"Name": "durable", "Opts": {"grant": "x"}}).status, 200
            )
        self.mayfly.kill("mayfly-broker")
        alone.wait_for(lambda: self.mayfly.child("mayfly-broker") not in (None, self.broker), "another broker")
        self.broker = self.mayfly.child("mayfly-broker")
        with self.mayfly.plugin() as plugin:
            answer = plugin.post("VolumeDriver.Get", {"Name": "durable"})
            self.assertEqual(answer.json["Volume"]["Status"]["grant"], "x")
            self.assertEqual(plugin.post("VolumeDriver.Remove", {"Name": "durable"}).status, 200)
