"""Reads barcodes with a decoder that is not ours: a JSON array of {"type", "format", "picture" (base64)} on standard input,
an array of what each says on standard output, null where nothing is read."""

import base64
import io
import json
import re
import sys

import zxingcpp
from PIL import Image, ImageDraw

FORMATS = {
    "EAN_13": "EAN13", "EAN_8": "EAN8", "UPC_A": "UPCA", "UPC_E": "UPCE", "CODE_128": "Code128", "CODE_39": "Code39Std",
    "CODE_93": "Code93", "ITF": "ITF", "ITF_14": "ITF14", "CODABAR": "Codabar", "DATA_MATRIX": "DataMatrix",
    "PDF_417": "PDF417", "AZTEC": "Aztec",
}


def drawn(svg):
    """Our SVGs are rectangles of two colours; drawn here at four pixels to the unit."""
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', svg).groups())
    image = Image.new("RGB", (width * 4, height * 4), "grey")
    for fill, path in re.findall(r'<path fill="(#[0-9a-f]{6})" d="([^"]*)"', svg):
        for x, y, w, h in re.findall(r"M(\d+) (\d+)h(\d+)v(\d+)h-\3z", path):
            x, y, w, h = (int(n) * 4 for n in (x, y, w, h))
            ImageDraw.Draw(image).rectangle([x, y, x + w - 1, y + h - 1], fill=fill)
        assert not re.sub(r"M\d+ \d+h(\d+)v\d+h-\1z", "", path), "a path that is no rectangle"
    return image


def read(job):
    picture = base64.b64decode(job["picture"])
    image = drawn(picture.decode()) if job["format"] == "svg" else Image.open(io.BytesIO(picture)).convert("RGB")
    wanted = getattr(zxingcpp.BarcodeFormat, FORMATS[job["type"]])
    found = zxingcpp.read_barcodes(image, formats=wanted, text_mode=zxingcpp.TextMode.Plain)
    if len(found) != 1:
        return None
    # A UPC-A is the EAN-13 that begins with a zero, and told as such.
    return found[0].text.removeprefix("0") if job["type"] == "UPC_A" and len(found[0].text) == 13 else found[0].text


json.dump([read(job) for job in json.load(sys.stdin)], sys.stdout)
