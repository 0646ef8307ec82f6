"""Makes the C source that holds the published schemas (docs/schema/*.schema.json), byte for byte.

The broker enforces what it is built with, so the published file and the enforced one are the same file.
Usage: embed_schema.py OUTPUT INPUT...
"""
import json
import pathlib
import sys


def c_array(file):
    name = file.name.removesuffix(".schema.json") + "_schema"
    content = file.read_bytes()
    json.loads(content.decode("ascii"))  # a broken schema ends the build here, with a line number
    rows = [content[i:i + 16] for i in range(0, len(content), 16)]
    body = "\n".join("\t" + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)
    return (f"static const char {name}_bytes[] = {{\n{body}\n}};\n"
            f"const struct schema_text {name} = {{ {name}_bytes, sizeof {name}_bytes }};\n")


def main(output, inputs):
    head = '/* Made by scripts/embed_schema.py from docs/schema/. */\n#include "daemon/broker/config/schema_text.h"\n\n'
    pathlib.Path(output).write_text(head + "\n".join(c_array(pathlib.Path(i)) for i in inputs))


main(sys.argv[1], sys.argv[2:])
