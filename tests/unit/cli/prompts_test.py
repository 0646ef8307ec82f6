"""What a person at a terminal sees and types: prompts without echo, repetition, questions, signals, colour."""
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time

import stand_in

bench = stand_in.Bench(*sys.argv[1:3])
CREATED = {"outcome": "created", "version": 1}
SECRET = {"name": "prod/a", "current": 3, "versions": 5, "changed": "t", "removed": None}
SHOW = {"secret": SECRET, "found_in": "prod", "keep": 10, "bytes": 3, "lines": 1, "final_newline": False, "is_text": True}
STATUS = {"version": "1", "state": "uninitialised", "detail": "", "environment": None, "secrets": 0, "grants": 0, "armed": 0, "released": 0,
          "refused_while_locked": [], "engines": [], "audit_records": 0, "audit_head": "", "problems": [],
          "backends": [], "rotations": []}
# Whoever runs the tests may have switched some of them off.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
RELOADED = {"grants": 0, "restart_needed": []}


class Terminal:
    """The command at a pseudo-terminal of its own."""

    def __init__(self, *words, env=None):
        self.master, slave = pty.openpty()
        self.slave = slave
        environment = {**os.environ, **(env or {})}
        environment.pop("NO_COLOR", None)
        environment.update(env or {})
        self.process = subprocess.Popen([bench.mayfly, "--root", str(bench.root), *words], stdin=slave, stdout=slave, stderr=slave,
                                        env=environment, start_new_session=True, preexec_fn=lambda: self.take_terminal(slave))
        self.seen = b""

    @staticmethod
    def take_terminal(slave):
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)

    def read(self, seconds):
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            self.seen += os.read(self.master, 65536)
        return bool(ready)

    def wait_for(self, text):
        end = time.monotonic() + 20
        while text not in self.seen and time.monotonic() < end:
            self.read(0.2)
        if text not in self.seen:
            bench.expect(f"the terminal shows {text}", False, self.seen)

    def type(self, text):
        os.write(self.master, text)

    def echoes(self):
        return bool(termios.tcgetattr(self.slave)[3] & termios.ECHO)

    def silent(self):
        """Waits until echo is off: typing before that would be shown."""
        end = time.monotonic() + 20
        while self.echoes() and time.monotonic() < end:
            time.sleep(0.01)

    def end(self):
        status = self.process.wait(20)
        while self.read(0.05):
            pass
        self.after = self.echoes()
        os.close(self.master)
        os.close(self.slave)
        return status


def answer(terminal, *lines):
    """Types as soon as it is asked, as a program or a fast person does."""
    for prompt, line in lines:
        terminal.wait_for(prompt)
        bench.expect("echo is off when the question can be read", not terminal.echoes(), prompt)
        terminal.type(line)


def check_put():
    bench.broker.secrets = [b"canary-typed"]
    bench.broker.replies = {"Put": CREATED}
    terminal = Terminal("put", "prod/a")
    answer(terminal, (b"Value of prod/a: ", b"canary-typed\r"), (b"The same again: ", b"canary-typed\r"))
    status = terminal.end()
    calls = bench.calls()
    bench.expect("put asks twice", status == 0 and calls[0].brought == {"value_fd": b"canary-typed"}, (status, calls, terminal.seen))
    bench.expect("what is typed is not shown", b"canary" not in terminal.seen, terminal.seen)
    bench.expect("the terminal is put back", terminal.after)


def check_two_different():
    terminal = Terminal("put", "prod/a")
    answer(terminal, (b"Value of prod/a: ", b"one\r"), (b"The same again: ", b"two\r"))
    status = terminal.end()
    bench.expect("two different ones are refused", status == 1 and b"different" in terminal.seen and not bench.calls(), terminal.seen)


def check_nothing_typed():
    bench.broker.replies = {"ListSlots": {"slots": [{"id": 3, "kind": "passphrase", "created": "t"}]}}
    for keys, says in ((b"\r", b"empty"), (b"\x04", b"nothing was typed")):
        terminal = Terminal("unlock")
        answer(terminal, (b"Passphrase: ", keys))
        status = terminal.end()
        bench.expect(f"{keys} is refused", status == 1 and says in terminal.seen and bench.methods() == ["ListSlots"], terminal.seen)


def check_long_line():
    """The terminal driver drops what does not fit into a line; half a value must not be stored."""
    terminal = Terminal("put", "prod/a")
    terminal.wait_for(b"Value of prod/a: ")
    terminal.silent()
    for _ in range(10):
        terminal.type(b"x" * 500)
        time.sleep(0.02)
    terminal.type(b"\r")
    status = terminal.end()
    bench.expect("a line that the terminal cuts", status == 1 and b"--from-file" in terminal.seen and not bench.calls(), terminal.seen)


def check_signals():
    for number in ENDING:
        terminal = Terminal("put", "prod/a")
        terminal.wait_for(b"Value of prod/a: ")
        terminal.silent()
        time.sleep(0.05)
        terminal.process.send_signal(number)
        status = terminal.end()
        bench.expect(f"{number.name} ends it as itself", status == -number, status)
        bench.expect(f"{number.name}: the terminal is put back", terminal.after)
    terminal = Terminal("put", "prod/a")
    answer(terminal, (b"Value of prod/a: ", b"half\x03"))
    bench.expect("control-C ends it", terminal.end() == -signal.SIGINT and not bench.calls())


def check_patience():
    """The broker may hang up while a person thinks: the call is made on a new connection."""
    bench.broker.replies = {"Show": stand_in.Last(SHOW), "Keep": {"destroyed": 4}}
    hung_up = bench.broker.hung_up
    terminal = Terminal("keep", "prod/a", "1")
    while bench.broker.hung_up == hung_up:
        time.sleep(0.01)
    answer_visible(terminal, (b"Destroy the 4 oldest versions of prod/a? (y/N): ", b"y\r"))
    status = terminal.end()
    bench.expect("keep asks before it destroys", status == 0 and b"4 destroyed" in terminal.seen, terminal.seen)
    bench.expect("keep: calls", [call.method for call in bench.calls()] == ["Show", "Keep"])


def answer_visible(terminal, *lines):
    for prompt, line in lines:
        terminal.wait_for(prompt)
        terminal.type(line)


def check_questions():
    bench.broker.replies = {"Remove": {"versions": 1}}
    for keys, status, called in ((b"y\r", 0, 1), (b"yes\r", 0, 1), (b"\r", 1, 0), (b"n\r", 1, 0), (b"yep\r", 1, 0), (b"\x04", 1, 0)):
        terminal = Terminal("remove", "prod/a", "--purge")
        answer_visible(terminal, (b"(y/N): ", keys))
        got = terminal.end()
        calls = bench.calls()
        bench.expect(f"a question answered by {keys}", got == status and len(calls) == called, (got, calls, terminal.seen))
    bench.broker.replies = {"Remove": {"versions": 1}}
    terminal = Terminal("remove", "prod/a", "--purge", "--yes")
    bench.expect("--yes asks nothing", terminal.end() == 0 and b"y/N" not in terminal.seen, terminal.seen)
    bench.calls()


def check_init():
    bench.broker.secrets = [b"canary-pass"]
    bench.broker.replies = {"Status": STATUS, "Reload": RELOADED, "Init": {}}
    terminal = Terminal("init", "--unlock", "passphrase")
    answer_visible(terminal, (b"environment, as dev or prod: ", b"prod\r"))
    answer(terminal, (b"New passphrase: ", b"canary-pass\r"), (b"The same again: ", b"canary-pass\r"))
    status = terminal.end()
    calls = bench.calls()
    bench.expect("init asks for environment and passphrase", status == 0, terminal.seen)
    bench.expect("init: the call", calls[-1].parameters == {"unlock": "passphrase", "passphrase_fd": 1, "recovery_fd": 0}, calls)
    bench.expect("init: the passphrase", calls[-1].brought == {"passphrase_fd": b"canary-pass"}, calls)
    bench.expect("init: the recovery key, once", terminal.seen.count(stand_in.RECOVERY_KEY) == 1, terminal.seen)
    config = (bench.root / "etc/mayfly/mayflyd.json").read_text()
    bench.expect("init: the configuration", config == '{\n  "environment": "prod",\n  "sets": {\n    "prod": {\n      "provider": "store"\n    }\n  }\n}\n', config)


def check_colour():
    bench.broker.replies = {"Verify": {"same": True, "version": 1}}
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        terminal = Terminal("verify", "prod/a", env=env)
        answer(terminal, (b"Value to compare with prod/a: ", b"x\r"))
        terminal.end()
        bench.expect(f"colour with {env}", (b"\x1b[" in terminal.seen) == coloured, terminal.seen)
    result = bench.run("verify", "prod/a", stdin=b"x", env={"NO_COLOR": ""})
    bench.expect("no colour without a terminal", b"\x1b" not in result.stdout, result.stdout)
    bench.calls()


def check_reveal():
    bench.broker.replies = {"Reveal": {"version": 1}}
    for value, status in ((b"canary", 0), (b"canary\n", 0), (b"\x1b[31m", 1), (b"\0", 1)):
        bench.broker.revealed = value
        terminal = Terminal("reveal", "prod/a")
        got = terminal.end()
        shown = value.rstrip(b"\n") + b"\r\n"
        bench.expect(f"reveal {value} at a terminal", got == status and (terminal.seen == shown if status == 0 else value not in terminal.seen), terminal.seen)
    bench.calls()


for check in [value for name, value in list(globals().items()) if name.startswith("check_")]:
    check()
bench.finish()
