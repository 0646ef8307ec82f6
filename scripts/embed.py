"""Makes a C header that holds a text file as a string. Usage: embed.py INPUT NAME OUTPUT"""
import pathlib
import sys

source, name, output = sys.argv[1:]
escape = str.maketrans({"\\": "\\\\", '"': '\\"', "\t": "\\t"})
lines = "\n".join(f'\t"{line.translate(escape)}\\n"' for line in pathlib.Path(source).read_text().splitlines())
pathlib.Path(output).write_text(f"static const char {name}[] =\n{lines};\n")
