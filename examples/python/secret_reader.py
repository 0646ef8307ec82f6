#!/usr/bin/env python3
"""Asks Mayfly for this container's secrets, reads them, and reads them again after one rotation.

Needs nothing but Python. The protocol is varlink: JSON and a NUL over a unix socket. Python can neither lock memory nor
wipe a value: keep values for as short as you can.
"""
import json
import os
import random
import socket
import sys
import time

SOCKET = os.environ.get("MAYFLY_SOCKET", "/run/mayfly/container.sock")
INTERFACE = "org.mayfly.Container"
TIMEOUT_S = 30


class Failure(Exception):
    """What the broker answers instead: the error's name without its interface, and its parameters."""

    def __init__(self, name, parameters):
        self.name, self.parameters = name, parameters
        words = [parameters[key] for key in ("text", "limit", "advice") if parameters.get(key)]
        super().__init__(": ".join([name, *words]))


class Connection:
    """The broker answers the process that has connected: open one after a fork, never before."""

    def __init__(self, timeout_s):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.socket.connect(SOCKET)
        self.received = b""

    def send(self, method, parameters, more):
        message = {"method": f"{INTERFACE}.{method}", "parameters": parameters, **({"more": True} if more else {})}
        self.socket.sendall(json.dumps(message).encode() + b"\0")

    def receive(self):
        while b"\0" not in self.received:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionResetError("the broker has ended the connection")
            self.received += data
        message, self.received = self.received.split(b"\0", 1)
        reply = json.loads(message)
        if "error" in reply:
            raise Failure(reply["error"].removeprefix(INTERFACE + "."), reply.get("parameters", {}))
        return reply["parameters"]

    def call(self, method, parameters, more=False):
        """The first reply, whatever is needed to get it."""
        while True:
            self.send(method, parameters, more)
            try:
                return self.receive()
            except Failure as failure:
                if failure.name == "EchoRequired":  # Kernels before 6.5: proves that we live.
                    self.send("Echo", {"nonce": failure.parameters["nonce"]}, False)
                    self.receive()
                elif failure.name == "TooMuch":
                    time.sleep(failure.parameters["retry_after_ms"] / 1000)
                else:
                    raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


def persistently(attempt, seconds=float("inf")):
    """ATTEMPT's result; again when the broker goes away in between, or says that it is being started."""
    end = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except Failure as failure:
            if failure.name != "NotYet" or time.monotonic() > end:
                raise
        except (ConnectionError, FileNotFoundError, BlockingIOError) as error:
            # A directory that is not there is a mount that will not come.
            if time.monotonic() > end or not os.path.isdir(os.path.dirname(SOCKET)):
                raise SystemExit(f"{SOCKET}: {error}") from error
        time.sleep(random.uniform(0.1, 0.5))


def request():
    with Connection(TIMEOUT_S + 5) as connection:
        return connection.call("Request", {"wait_ms": TIMEOUT_S * 1000})


def next_generation(lease, generation):
    """Waits for another generation of LEASE than GENERATION. What happens before the watch is told as `present`."""
    with Connection(None) as connection:
        reply = connection.call("Watch", {}, more=True)
        while True:
            delivery = reply.get("delivery")
            if delivery and delivery["lease"] == lease and delivery["generation"] > generation:
                return delivery
            reply = connection.receive()


def read_values(delivery):
    """Path -> value, all of one generation: a user's name and its password belong together."""
    target = delivery["target"]
    try:
        directory = os.open(f"{target}/..data", os.O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:  # `layout: plain` has no generations.
        directory = os.open(target, os.O_PATH | os.O_DIRECTORY)
    try:
        values = {}
        for file in delivery["files"]:
            name = os.path.relpath(file["path"], target)
            with open(name, "rb", opener=lambda path, flags: os.open(path, flags, dir_fd=directory)) as stream:
                values[file["path"]] = stream.read()
        return values
    finally:
        os.close(directory)


def use(what, delivery):
    """Where a program takes its values: here they are counted."""
    print(f"{what}: {delivery['target']}, generation {delivery['generation']}")
    values = read_values(delivery)
    for file in delivery["files"]:
        secret = file["secrets"][0]
        print(f"  {file['path']}: {secret['name']} version {secret['version']}, {len(values[file['path']])} bytes")
    sys.stdout.flush()


def main():
    reply = persistently(request, TIMEOUT_S)
    delivery = reply["delivery"]
    use("delivered" if reply["is_new"] else "was there already", delivery)
    use("rotated", persistently(lambda: next_generation(delivery["lease"], delivery["generation"])))


if __name__ == "__main__":
    try:
        main()
    except Failure as refusal:
        sys.exit(str(refusal))
