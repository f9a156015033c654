"""Reads barcodes with a decoder that is not ours: a JSON array of {"type", "format", "picture" (base64)} on standard input,
an array of what each says on standard output, null where nothing is read."""

import base64
import json
import sys

import zxingcpp
from drawing import pixels

# Pixels of what has none.
WIDTH = 2000
FORMATS = {
    "EAN_13": "EAN13", "EAN_8": "EAN8", "UPC_A": "UPCA", "UPC_E": "UPCE", "CODE_128": "Code128", "CODE_39": "Code39Std",
    "CODE_93": "Code93", "ITF": "ITF", "ITF_14": "ITF14", "CODABAR": "Codabar", "DATA_MATRIX": "DataMatrix",
    "PDF_417": "PDF417", "AZTEC": "Aztec",
}


def short(upc_a):
    """The UPC-E of a UPC-A (GS1 General Specifications, 5.2.2.4.2)."""
    system, maker, product, check = upc_a[0], upc_a[1:6], upc_a[6:11], upc_a[11]
    if maker[2] in "012" and maker[3:] == "00" and product[:2] == "00":
        body = maker[:2] + product[2:] + maker[2]
    elif maker[3:] == "00" and product[:3] == "000":
        body = maker[:3] + product[3:] + "3"
    elif maker[4] == "0" and product[:4] == "0000":
        body = maker[:4] + product[4] + "4"
    else:
        body = maker + product[4]
    return system + body + check


def read(job):
    picture = base64.b64decode(job["picture"])
    image = pixels(picture, job["format"], WIDTH).convert("RGB")
    wanted = getattr(zxingcpp.BarcodeFormat, FORMATS[job["type"]])
    found = zxingcpp.read_barcodes(image, formats=wanted, text_mode=zxingcpp.TextMode.Plain)
    if len(found) != 1:
        return None
    text = found[0].text
    # Both are told as the EAN-13 that they stand for, which begins with a zero.
    if job["type"] in ("UPC_A", "UPC_E") and len(text) == 13:
        text = text.removeprefix("0")
    return short(text) if job["type"] == "UPC_E" and len(text) == 12 else text


json.dump([read(job) for job in json.load(sys.stdin)], sys.stdout)
