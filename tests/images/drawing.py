"""Pictures as pixels: SVG is drawn by resvg and PDF by PDFium."""

import io

import pypdfium2
import resvg_py
from PIL import Image


def pixels(data, extension, width):
    """The picture in `data`; `width` pixels wide if it has none."""
    if extension == "pdf":
        page = pypdfium2.PdfDocument(data)[0]
        return page.render(scale=width / page.get_width()).to_pil().convert("RGB")
    if extension == "svg":
        drawn = resvg_py.svg_to_bytes(svg_string=data.decode(), width=width)
        return Image.open(io.BytesIO(bytes(drawn))).convert("RGB")
    return Image.open(io.BytesIO(data))
