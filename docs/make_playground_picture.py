"""Writes docs/pictures/playground.png, a photograph of the playground: python docs/make_playground_picture.py.

It needs playwright, Pillow and the program `chromium`.
"""

import io
import shutil
import threading

import pages
from PIL import Image
from playwright.sync_api import sync_playwright

from pancake.playground.server import Server
from pancake.playground.trainer import Trainer

PICTURE = pages.DOCS / "pictures" / "playground.png"


def spirals() -> Trainer:
    trainer = Trainer()
    trainer.change({"data": "spirals", "noise": 0.02, "layers": "12, 8", "lr": 0.02, "speed": "full speed"})
    return trainer


def main() -> None:
    server = Server(0, spirals)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 900}, bypass_csp=True)  # to wait for a condition is to eval
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.get_by_role("button", name="Run").click()
        page.wait_for_function("parseFloat(document.getElementById('score').textContent.split(' ')[1]) > 99", timeout=120_000)
        page.get_by_role("button", name="Run").click()
        page.wait_for_selector("#run[aria-pressed=false]")
        photograph = Image.open(io.BytesIO(page.screenshot(full_page=True)))
        browser.close()
    photograph.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(PICTURE, optimize=True)  # a third of the bytes
    server.shutdown()
    server.server_close()
    print(f"wrote {PICTURE}")


if __name__ == "__main__":
    main()
