"""Reads a varlink interface file and checks values against its types. Source: varlink.org, "Interface Definition"."""
import re

TOKEN = re.compile(r"\s*(?:#[^\n]*\n\s*)*([A-Za-z_][A-Za-z0-9_.]*|->|[()\[\]:,?])")
SIMPLE = {"bool": bool, "int": int, "string": str, "float": (int, float), "object": dict}


class Interface:
    """Types, methods (input, output) and errors by name."""

    def __init__(self, path):
        text = path.read_text() + "\n"
        self.tokens = TOKEN.findall(text)
        assert len(re.sub(r"#[^\n]*|\s", "", text)) == sum(map(len, self.tokens)), "a part of the file was not understood"
        self.at = 0
        self.types, self.methods, self.errors = {}, {}, {}
        self.take("interface")
        self.name = self.next()
        while self.at < len(self.tokens):
            self.read_member()

    def next(self):
        self.at += 1
        return self.tokens[self.at - 1]

    def take(self, token):
        assert self.next() == token, f"expected {token} at token {self.at}"

    def peek(self):
        return self.tokens[self.at]

    def read_member(self):
        kind, name = self.next(), self.next()
        if kind == "type":
            self.types[name] = self.read_struct()
        elif kind == "error":
            self.errors[name] = self.read_struct()
        elif kind == "method":
            taken = self.read_struct()
            self.take("->")
            self.methods[name] = (taken, self.read_struct())
        else:
            raise AssertionError(f"a member of kind {kind}")

    def read_struct(self):
        """("struct", {name: type}) or ("enum", [name])."""
        self.take("(")
        members, names = {}, []
        while self.peek() != ")":
            names.append(self.next())
            if self.peek() == ":":
                self.take(":")
                members[names[-1]] = self.read_type()
            if self.peek() == ",":
                self.take(",")
        self.take(")")
        return ("enum", names) if names and not members else ("struct", members)

    def read_type(self):
        if self.peek() == "?":
            self.take("?")
            return ("maybe", self.read_type())
        if self.peek() == "[":
            self.take("[")
            self.take("]")
            return ("list", self.read_type())
        if self.peek() == "(":
            return self.read_struct()
        return ("named", self.next())

    def check(self, value, kind, where):
        """Complains, as a list of texts, about VALUE that is not of KIND."""
        what, inner = kind
        if what == "maybe":
            return [] if value is None else self.check(value, inner, where)
        if what == "list":
            if not isinstance(value, list):
                return [f"{where}: no list"]
            return [c for i, item in enumerate(value) for c in self.check(item, inner, f"{where}[{i}]")]
        if what == "enum":
            return [] if value in inner else [f"{where}: {value!r} is none of {inner}"]
        if what == "struct":
            return self.check_struct(value, inner, where)
        if inner in SIMPLE:
            right = isinstance(value, SIMPLE[inner]) and (inner == "bool" or not isinstance(value, bool))
            return [] if right else [f"{where}: {value!r} is no {inner}"]
        return self.check(value, self.types[inner], where)

    def check_struct(self, value, members, where):
        if not isinstance(value, dict):
            return [f"{where}: no object"]
        wrong = [f"{where}: {name!r} is not declared" for name in value if name not in members]
        for name, kind in members.items():
            if name in value:
                wrong += self.check(value[name], kind, f"{where}.{name}")
            elif kind[0] != "maybe":
                wrong.append(f"{where}: {name!r} is missing")
        return wrong
