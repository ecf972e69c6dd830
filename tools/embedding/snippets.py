"""Writes the C and C++ programs of a Markdown file to a folder, to be compiled.

    snippets.py FILE.md FOLDER
"""

import pathlib
import re
import sys

text = pathlib.Path(sys.argv[1]).read_text()
programs = re.findall(r"^```(c|cpp)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
if not programs:
    sys.exit(f"{sys.argv[1]} has no programs")
for number, (language, program) in enumerate(programs, 1):
    pathlib.Path(sys.argv[2], f"snippet-{number}.{language}").write_text(program)
