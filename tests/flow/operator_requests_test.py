"""The operator socket, used by those who may and who may not, with messages and descriptors that no command sends."""

import contextlib
import grp
import json
import os
import pathlib
import socket
import stat
import threading
import time

import alone
from alone import memfd

OURS = "org.mayfly.Operator."
INVALID = "org.varlink.service.InvalidParameter"
STRANGER = 64998


def as_someone(uid, gid, groups, action):
    """Runs ACTION in a child of that identity. Its text, or the name of what it raised."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            text = action()
        except BaseException as error:
            text = type(error).__name__
        os.write(write_end, text.encode())
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(pid, 0)
    return text


class OperatorRequests(alone.AloneCase):
    tag = "operator"
    # Any group that is there, and that nothing of ours runs as.
    group = next(
        (g for g in ("mail", "www-data", "nogroup", "games") if any(e.gr_name == g for e in grp.getgrall())), "root"
    )
    config = {"allow_reveal": True, "operator_group": group}

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.mayfly.put("prod/known", "known value")

    def setUp(self):
        super().setUp()
        self.addCleanup(lambda: self.assertEqual(self.value_of("prod/known"), b"known value"))

    def status_as(self, uid, gid, groups):
        def ask():
            with self.mayfly.operator() as operator:
                return operator.call("Status")["parameters"]["state"]

        return as_someone(uid, gid, groups, ask)

    def put(self, fds, **more):
        with self.mayfly.operator() as operator:
            return operator.call("Put", fds, name="prod/never", value_fd=0, **more)

    # Who may.

    def test_a_stranger_cannot_connect_and_is_told_what_to_become(self):
        self.assertEqual(self.status_as(STRANGER, STRANGER, []), "PermissionError")
        cli = [str(self.mayfly.build / "client/cli/mayfly"), "status"]
        environment = dict(os.environ, MAYFLY_ROOT=str(self.mayfly.root))

        def run():
            import subprocess

            result = subprocess.run(cli, env=environment, capture_output=True, text=True, check=False)
            return f"{result.returncode} {result.stderr}"

        text = as_someone(STRANGER, STRANGER, [], run)
        if "PermissionError" not in text:  # the build's directory may be closed to strangers: then it says nothing
            self.assertTrue(text.startswith("3 "), text)
            self.assertIn("operator group", text)

    def test_a_member_of_the_operator_group_may(self):
        gid = grp.getgrnam(self.group).gr_gid
        self.assertEqual(self.status_as(STRANGER, STRANGER, [gid]), "unlocked")
        self.assertEqual(self.status_as(STRANGER, gid, []), "unlocked")
        path = self.mayfly.root / "run/mayfly/operator.sock"
        self.assertEqual((stat.S_IMODE(path.stat().st_mode), path.stat().st_uid, path.stat().st_gid), (0o660, 0, gid))

    def test_a_member_appears_in_the_audit_file_with_his_uid(self):
        gid = grp.getgrnam(self.group).gr_gid

        def remove():
            with self.mayfly.operator() as operator:
                return operator.call("Remove", name="prod/nothing")["error"]

        self.assertEqual(as_someone(STRANGER, gid, [], remove), OURS + "NotFound")
        actor = self.mayfly.audit("--action", "remove")[-1]["actor"]
        self.assertEqual((actor["uid"], actor["gid"]), (STRANGER, gid))

    # What is sent.

    def refused(self, data, fds=()):
        """The broker hangs up on DATA."""
        with self.mayfly.operator() as operator:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                operator.send(data, fds)
            self.assertTrue(operator.ended(), data[:40])

    def test_what_is_no_varlink_call_ends_the_connection(self):
        for data in (
            b"\0",
            b"x\0",
            b"null\0",
            b"[]\0",
            b"{}\0",
            b'{"method":1}\0',
            b'{"method":"a","parameters":[]}\0',
            b'{"method":"a","method":"b"}\0',
            b"\xff\xfe\0",
            b"{" * 3000 + b"\0",
            b"GET / HTTP/1.1\r\n\r\n\0",
        ):
            with self.subTest(data[:20]):
                self.refused(data)

    def test_a_message_longer_than_the_limit_ends_the_connection(self):
        self.refused(b'{"method":"' + b"a" * 300 * 1024 + b'"}\0')

    def test_unknown_methods_and_interfaces_are_answered(self):
        with self.mayfly.operator() as operator:
            self.assertEqual(operator.call("Reboot")["error"], "org.varlink.service.MethodNotFound")
            operator.send(b'{"method":"org.example.Other.Do"}\0')
            self.assertEqual(operator.reply()["error"], "org.varlink.service.MethodNotFound")
            operator.send(b'{"method":"nothing"}\0')
            self.assertIn("error", operator.reply())
            operator.send(
                b'{"method":"org.varlink.service.GetInterfaceDescription",'
                b'"parameters":{"interface":"org.mayfly.Operator"}}\0'
            )
            self.assertIn("method Status()", operator.reply()["parameters"]["description"])

    def test_calls_that_are_sent_ahead_and_in_pieces_are_answered_in_order(self):
        call = json.dumps({"method": OURS + "Show", "parameters": {"name": "prod/known"}}).encode() + b"\0"
        with self.mayfly.operator() as operator:
            operator.send(call * 50)
            for _ in range(50):
                self.assertEqual(operator.reply()["parameters"]["bytes"], 11)
            for byte in call:
                operator.send(bytes([byte]))
            self.assertEqual(operator.reply()["parameters"]["bytes"], 11)

    def test_a_call_without_a_reply_is_carried_out_and_not_answered(self):
        with self.mayfly.operator() as operator:
            operator.send(
                json.dumps({"method": OURS + "Show", "parameters": {"name": "prod/known"}, "oneway": True}).encode()
                + b"\0"
            )
            self.assertIn("parameters", operator.call("Status"))

    def test_half_a_message_and_then_the_end_leaves_nothing(self):
        call = json.dumps({"method": OURS + "Generate", "parameters": {"name": "prod/half"}}).encode()
        for data in (call[:5], call):
            with self.mayfly.operator() as operator:
                operator.send(data)
                operator.socket.shutdown(socket.SHUT_WR)
                self.assertTrue(operator.ended())
        self.assertIsNone(self.value_of("prod/half"))

    def test_a_message_that_does_not_end_is_cut_off_and_others_are_served(self):
        with self.mayfly.operator() as slow:
            slow.send(b'{"method":')
            begun = time.monotonic()
            self.assertTrue(self.mayfly.status())
            self.assertTrue(slow.ended())
            self.assertLess(time.monotonic() - begun, 20)

    def test_a_hundred_connections_of_one_user_leave_room_for_root(self):
        gid = grp.getgrnam(self.group).gr_gid

        def crowd():
            held, served = [], 0
            for _ in range(100):
                operator = self.mayfly.operator()
                held.append(operator)
                with contextlib.suppress(OSError, EOFError):
                    operator.call("Status")
                    served += 1
            os.write(tell, b"x")
            os.read(go_on, 1)
            return str(served)

        ready, tell = os.pipe()
        go_on, end = os.pipe()
        answers = []
        thread = threading.Thread(target=lambda: answers.append(as_someone(STRANGER, gid, [], crowd)))
        thread.start()
        os.read(ready, 1)
        self.assertEqual(self.value_of("prod/known"), b"known value")
        os.write(end, b"x")
        thread.join(alone.NEW_CONNECTION)
        served = int(answers[0])
        self.assertGreaterEqual(served, 8)
        self.assertLess(served, 100)
        for fd in (ready, tell, go_on, end):
            os.close(fd)

    def test_root_with_a_hundred_connections_is_told_and_can_go_on_afterwards(self):
        held = [self.mayfly.operator() for _ in range(100)]
        result = self.mayfly.cli("status")
        if result.returncode:
            self.says(result, 3, "broker")
        for operator in held:
            operator.socket.close()
        alone.wait_for(lambda: self.mayfly.cli("status").returncode == 0, "the places are free again")

    # Descriptors.

    def test_a_value_travels_as_a_sealed_memfd_only(self):
        with alone.temporary_directory() as directory:
            file = pathlib.Path(directory, "file")
            file.write_bytes(b"value")
            read_end, write_end = os.pipe()
            os.write(write_end, b"value")
            with memfd(b"value", seals=0) as unsealed, memfd(b"value", seals=0x8) as can_shrink, memfd(
                b"value", seals=0x2 | 0x10
            ) as future, open(file, "rb") as plain, socket.socket(socket.AF_UNIX) as other:
                path_only = os.open(file, os.O_PATH)
                memory_path = os.open(f"/proc/self/fd/{unsealed}", os.O_PATH)
                for what, fd in {
                    "unsealed": unsealed,
                    "can shrink": can_shrink,
                    "sealed for later": future,
                    "a file": plain.fileno(),
                    "a pipe": read_end,
                    "a socket": other.fileno(),
                    "O_PATH": path_only,
                    "O_PATH of a memfd": memory_path,
                }.items():
                    with self.subTest(what):
                        reply = self.put([fd])
                        self.assertEqual(reply["error"], OURS + "Invalid")
                        self.assertIn("memfd", reply["parameters"]["text"])
                for fd in (path_only, memory_path, read_end, write_end):
                    os.close(fd)
        self.assertIsNone(self.value_of("prod/never"))

    def test_a_descriptor_that_was_not_sent_is_refused(self):
        with memfd(b"value") as value:
            for number in (1, -1, 64, 2**31, 2**63 - 1, "0", None, 0.0, True):
                with self.subTest(number), self.mayfly.operator() as operator:
                    reply = operator.call("Put", [value], name="prod/never", value_fd=number)
                    self.assertEqual((reply["error"], reply["parameters"]), (INVALID, {"parameter": "value_fd"}))
            with self.subTest("none at all"):
                self.assertEqual(self.put([])["error"], INVALID)
        self.assertIsNone(self.value_of("prod/never"))

    def test_more_descriptors_than_a_call_needs_are_refused_and_closed(self):
        before = len(os.listdir(f"/proc/{self.broker}/fd"))
        with memfd(b"value") as value:
            self.assertEqual(self.put([value] * 9)["error"], INVALID)
            call = json.dumps({"method": OURS + "Put", "parameters": {"name": "prod/never", "value_fd": 0}}).encode()
            with self.mayfly.operator() as operator:  # spread over pieces of one message
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    for i in range(10):
                        operator.send(call[i : i + 1], [value] * 20)
                    operator.send(call[10:] + b"\0")
                with contextlib.suppress(EOFError, ConnectionResetError):
                    self.assertIn("error", operator.reply())
            with self.mayfly.operator() as operator:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    operator.send(call + b"\0", [value] * 253)
                self.assertTrue(operator.ended())
        alone.wait_for(lambda: len(os.listdir(f"/proc/{self.broker}/fd")) <= before, "all of them are closed")
        self.assertIsNone(self.value_of("prod/never"))

    def test_an_empty_value_and_one_byte_more_than_the_limit_are_refused(self):
        for content, words in ((b"", "at least one byte"), (b"v" * (1024 * 1024 + 1), "limit")):
            with memfd(content) as value:
                reply = self.put([value])
                self.assertEqual(reply["error"], OURS + "Invalid")
                self.assertIn(words, reply["parameters"]["text"])
        self.assertIsNone(self.value_of("prod/never"))

    def test_a_value_that_is_given_out_goes_into_memory_only(self):
        with alone.temporary_directory() as directory, self.mayfly.operator() as operator:
            file = os.open(f"{directory}/file", os.O_RDWR | os.O_CREAT, 0o600)
            read_end, write_end = os.pipe()
            for what, fd in (("a file", file), ("a pipe", write_end)):
                with self.subTest(what):
                    self.assertEqual(
                        operator.call("Reveal", [fd], name="prod/known", into_fd=0)["error"], OURS + "Invalid"
                    )
            self.assertEqual(os.fstat(file).st_size, 0)
            with memfd(b"", seals=0x8) as sealed:
                self.assertEqual(
                    operator.call("Reveal", [sealed], name="prod/known", into_fd=0)["error"], OURS + "Failed"
                )
            for fd in (file, read_end, write_end):
                os.close(fd)

    def test_names_that_are_none_are_refused_by_the_broker_too(self):
        for name in (
            "",
            "prod",
            "prod/",
            "/known",
            "prod//known",
            "prod/..",
            "prod/../known",
            "prod/a\nb",
            "prod/.known",
            "prod/known/",
            "Prod/known",
            "environment/known",
            "prod/" + "a" * 251,
            "prod/\u00e4",
            "prod/a b",
            5,
            None,
        ):
            with self.subTest(str(name)[:20]), memfd(b"value") as value, self.mayfly.operator() as operator:
                reply = operator.call("Put", [value], name=name, value_fd=0)
                self.assertIn(reply["error"], (OURS + "Invalid", INVALID))
        reply = self.put_into("prodd/known")
        self.assertEqual((reply["error"], reply["parameters"]["nearest"]), (OURS + "UnknownSet", "prod"))

    def put_into(self, name):
        with memfd(b"value") as value, self.mayfly.operator() as operator:
            return operator.call("Put", [value], name=name, value_fd=0)

    def test_parameters_of_the_wrong_kind_do_no_harm(self):
        odd = (None, True, -1, 2**63 - 1, 1.5, "", "x", [], {}, ["x"], {"a": 1})
        methods = {
            "Generate": ("name", "length", "charset", "bytes", "stage"),
            "List": ("set", "prefix", "removed"),
            "Show": ("name",),
            "History": ("name",),
            "Remove": ("name", "purge"),
            "Undelete": ("name",),
            "Keep": ("name", "versions"),
            "Diff": ("left", "right"),
            "FillSet": ("set",),
            "CheckPolicy": ("files", "against_running"),
            "ShowPolicy": ("grant",),
            "ListLeases": ("lease", "container", "grant", "secret"),
            "Revoke": ("lease", "container", "grant", "secret"),
            "Explain": ("container",),
            "ReadAudit": ("since", "until", "secret", "last", "action"),
            "Init": ("unlock",),
            "Unlock": ("passphrase_fd", "recovery_fd"),
            "AddSlot": ("kind",),
            "RemoveSlot": ("id",),
            "RotateKey": ("recovery_fd",),
            "Verify": ("name", "value_fd", "version"),
            "Reveal": ("name", "version", "into_fd"),
        }
        with self.mayfly.operator() as operator:
            for method, names in methods.items():
                for name in names:
                    for value in odd:
                        base = {} if name == "name" or "name" not in names else {"name": "prod/odd"}
                        reply = operator.call(method, **{**base, name: value})
                        self.assertTrue("error" in reply or "parameters" in reply)
        self.assertEqual(self.mayfly.child("mayfly-broker"), self.broker)
        self.assertEqual([s["kind"] for s in self.mayfly.call("ListSlots")["slots"]], ["host_key", "recovery"])
