"""Reads codes from pictures with decoders that nobody here wrote: zxing-cpp and zbarimg.

Takes paths of PNG, SVG and PDF files on standard input, one per line, and answers each with a line of JSON:
{"zxing": [[format, text], …], "zbar": [[format, text], …], "mode": Pillow's, "size": [width, height], "colours": how many
a PNG has, up to 256, or 0}.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import zxingcpp
from drawing import pixels

# Pixels of a side of what has none.
SIDE = 800


def zbar(path):
    # Not --xml, which breaks whatever is not ASCII.
    run = subprocess.run(["zbarimg", "--nodbus", "--quiet", path], capture_output=True, check=False)
    # 4 says that it found nothing.
    if run.returncode not in (0, 4):
        raise SystemExit(f"zbarimg failed: {run.stderr.decode()}")
    said = run.stdout.decode()
    # One code to a picture: were there two, the second would stand in the text of the first.
    return [said.removesuffix("\n").split(":", 1)] if said else []


with tempfile.TemporaryDirectory() as scratch:
    for line in sys.stdin:
        path = pathlib.Path(line.rstrip("\n"))
        seen = pixels(path.read_bytes(), path.suffix[1:], SIDE)
        flat = pathlib.Path(scratch) / "seen.png"
        seen.convert("RGB").save(flat)
        read = [[str(code.format), code.text] for code in zxingcpp.read_barcodes(seen.convert("L"))]
        palette = len(seen.getcolors(256) or []) if path.suffix == ".png" else None
        print(json.dumps({"zxing": read, "zbar": zbar(flat), "mode": seen.mode, "size": seen.size, "colours": palette}))
