"""The playground in a browser: what one presses, types and sees, at the width of a desk and of a phone."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import pancake as pk
from pancake.playground.server import MOST_SESSIONS, Server
from pancake.playground.table import read_table
from pancake.playground.trainer import Trainer

pytestmark = pytest.mark.slow

PAUSED = "document.getElementById('run').getAttribute('aria-pressed') === 'false'"
RUNNING = PAUSED.replace("false", "true")
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@contextlib.contextmanager
def served(make):
    server = Server(0, make)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def opened(browser):
    """A function that serves and opens the page, and in the end holds it to no complaint and nothing from elsewhere."""
    with contextlib.ExitStack() as stack:
        troubles, requests, addresses = [], [], []

        def show(make=Trainer, viewport=DESK, scheme="light"):
            addresses.append(stack.enter_context(served(make)))
            context = browser.new_context(viewport=viewport, color_scheme=scheme)
            stack.callback(context.close)
            page = context.new_page()
            page.on("console", lambda message: troubles.append(message.text))
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            page.goto(addresses[-1])
            until(page, "document.getElementById('epochs').textContent")
            return page

        yield show
        assert not troubles
        assert all(any(url.startswith((address, "data:")) for address in addresses) for url in requests), requests


def number(page, name, selector="#numbers"):
    """The number that follows a word."""
    return float(re.search(rf"\b{name} ([\d.e+-]+)", page.inner_text(selector))[1].rstrip("."))


def until(page, condition):
    """Ask again and again: a condition that the page itself would watch is text run as a script, which it refuses."""
    for _ in range(1500):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(20)
    pytest.fail(f"30 seconds went by without {condition}")


def train(page, steps):
    run = page.get_by_role("button", name="Run")
    assert run.inner_text() == "Run"
    run.click()
    until(page, RUNNING)
    assert run.inner_text() == "Pause"
    until(page, f"Number(document.getElementById('epochs').textContent.match(/step (\\d+)/)[1]) > {steps}")
    run.click()
    until(page, PAUSED)


def choose(page, label, value):
    """Fill in a field and leave it, and wait until the server has answered."""
    with page.expect_response("**/settings") as answer:
        field = page.get_by_label(label, exact=True)
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
            field.dispatch_event("change")
    return answer.value.status


def colours(page, canvas):
    """How many different colours a picture has."""
    png = page.locator(canvas).screenshot()
    image = pytest.importorskip("matplotlib.image", reason="looks at pixels").imread(io.BytesIO(png))
    return len(np.unique((image[..., :3] * 255).astype(int).reshape(-1, 3), axis=0))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_it_runs_and_is_seen(opened, viewport, scheme, tmp_path):
    page = opened(viewport=viewport, scheme=scheme)
    first = number(page, "loss")
    train(page, 150)
    assert number(page, "loss") < first
    assert number(page, "accuracy") > 50
    page.screenshot(path=tmp_path / "playground.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    for canvas, least in (("#plane", 200), ("#net", 200), ("#curve", 20)):
        assert colours(page, canvas) > least, canvas
    rows = page.locator("#gradients tbody tr")
    assert [rows.nth(i).inner_text().split("\t")[0] for i in range(rows.count())] == [
        "layer 1: Linear",
        "layer 2: Linear",
        "output: Linear",
    ]
    assert "loss" in page.inner_text("#spoken")


def test_settings_step_and_reset(opened):
    page = opened()
    page.get_by_role("button", name="Step").click()
    until(page, "document.getElementById('epochs').textContent.endsWith('step 1')")
    page.get_by_role("button", name="Run").click()
    for label, value in (
        ("Learning rate", "0.1"),
        ("Batch size", "4"),
        ("Noise", "0.2"),
        ("Dropout", "0.1"),
        ("Test data, %", "50"),
        ("Optimizer", "SGD with momentum"),
        ("Loss", "Hinge"),
        ("Speed", "full speed"),
    ):
        assert choose(page, label, value) == 200, label
        assert number(page, "step") > 0
    assert choose(page, "Data set", "blobs") == 200
    until(page, "document.getElementById('legend').textContent.startsWith('012')")
    assert choose(page, "Layers", "3, 4, 5") == 200
    page.get_by_role("button", name="Remove the last layer").click()
    until(page, "document.getElementById('layers').value === '3, 4'")
    assert choose(page, "Activation", "ReLU") == 200
    page.get_by_role("button", name="Reset").click()
    until(page, "document.getElementById('epochs').textContent === 'epoch 0.0, step 0'")
    until(page, PAUSED)


def test_a_tab_too_many_can_be_read_but_not_used(opened):
    page = opened()
    for _ in range(MOST_SESSIONS - 1):
        page.context.new_page().goto(page.url)
    until(page.context.pages[-1], "document.getElementById('epochs').textContent")
    more = page.context.new_page()
    more.goto(page.url)
    more.get_by_role("alert").wait_for()
    assert "close one of them" in more.get_by_role("alert").inner_text()
    assert not more.locator("button:enabled:visible, input:enabled:visible, select:enabled:visible, a[href]:visible").count()
    assert page.get_by_role("button", name="Run").is_enabled()


def test_what_cannot_be_chosen_is_told_beside_the_field(opened):
    page = opened()
    for label, value in (("Learning rate", "<b>fast</b>"), ("Layers", "9999"), ("Batch size", "nan")):
        field = page.get_by_label(label, exact=True)
        right = field.input_value()
        field.fill(value)
        field.press("Enter")
        alert = page.get_by_role("alert")
        alert.wait_for()
        assert "expected" in alert.inner_text()
        assert field.get_attribute("aria-invalid") == "true"
        field.fill(right)
        field.press("Tab")
        alert.wait_for(state="hidden")
        assert field.get_attribute("aria-invalid") is None
    assert number(page, "loss") > 0


def test_a_step_is_explained(opened):
    page = opened()
    page.get_by_role("button", name="Explain").click()
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    for text in ("Linear(2, 8)", "Tanh()", "CrossEntropy()", "dObj_dPred"):
        assert text in dialog.inner_text()
    before = dialog.inner_text()
    dialog.get_by_role("button", name="Make this step").click()
    until(page, f"document.getElementById('explanation').innerText !== {json.dumps(before)}")
    assert number(page, "step") == 1
    page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")


def test_the_net_and_its_script_are_taken_away(opened, tmp_path):
    page = opened()
    choose(page, "Data set", "circles")
    train(page, 30)
    for name, path in (("Save the net", "net.npz"), ("Save the script", "train.py")):
        with page.expect_download() as download:
            page.get_by_role("link", name=name).click()
        assert download.value.suggested_filename == path
        download.value.save_as(tmp_path / path)
    model = pk.load(tmp_path / "net.npz")
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, capture_output=True)
    again = pk.load(tmp_path / "net.npz")
    for a, b in zip(model.get_params_and_grads()[0], again.get_params_and_grads()[0], strict=True):
        np.testing.assert_array_equal(a, b)


def test_all_of_it_is_reached_by_keyboard(opened):
    page = opened()
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        name, outline = page.evaluate("[document.activeElement.id, getComputedStyle(document.activeElement).outlineStyle]")
        if name:
            assert outline == "solid", f"the focus on {name} cannot be seen"
            reached.append(name)
    fields = page.eval_on_selector_all(
        "button, a, input, select", "all => all.filter(e => e.offsetParent !== null).map(e => e.id)"
    )
    assert set(fields) <= set(reached)
    unlabelled = page.eval_on_selector_all("input, select", "all => all.filter(e => !e.labels.length).map(e => e.id)")
    assert not unlabelled
    page.focus("#run")
    page.keyboard.press("Space")
    until(page, RUNNING)
    page.keyboard.press("Enter")
    until(page, PAUSED)


def test_data_and_a_net_of_ones_own(opened, tmp_path):
    path = tmp_path / "animals.csv"
    rng = np.random.default_rng(0)
    rows = [f"{a:.3f},{b:.3f},{c:.3f},{'<i>cat</i>' if a + c > 0 else 'dog'}" for a, b, c in rng.normal(size=(80, 3))]
    path.write_text("\n".join(["length,<b>height</b>,mass,animal", *rows]))
    table = read_table(path)

    def make(n_in, n_out, rng):
        return pk.Sequential([pk.Linear(n_in, 6, rng=rng), pk.SiLU(), pk.Linear(6, n_out, rng=rng)])

    page = opened(lambda: Trainer(table, make, "nets:make"))
    text = page.inner_text("body")
    for words in (
        "animals.csv: to tell animal, one of 2, by length, <b>height</b>, mass",
        "<i>cat</i>",
        "Drawn are length and <b>height</b>",
        "mass",
        "nets:make",
        "SiLU()",
    ):
        assert words in text
    assert not page.get_by_label("Layers", exact=True).is_visible()
    assert choose(page, "Up", "2") == 200
    until(page, "document.getElementById('drawn').textContent.includes('length and mass')")
    train(page, 30)


def test_many_features_and_long_names_on_a_phone(opened, tmp_path):
    path = tmp_path / "many.csv"
    X = np.random.default_rng(0).normal(size=(40, 20))
    names = [f"a measurement of great length, number {i}" for i in range(20)]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[*names, "animal"], *([*x, "cat" if x[0] > 0 else "dog"] for x in X)])
    page = opened(lambda: Trainer(read_table(path)), viewport=PHONE)
    until(page, f"document.getElementById('net-key').textContent.startsWith('Inputs: 1 {names[0]}, 2 {names[1]}')")
    assert choose(page, "Across", "18") == 200
    until(page, f"document.getElementById('net-key').textContent.endsWith('16 {names[18]}.')")
    assert "Blank inputs are those that stand at their mean" in page.inner_text("#net-help")
    page.get_by_role("button", name="Explain").click()
    page.get_by_role("dialog").wait_for()
    assert page.evaluate("(table => table.scrollWidth <= table.clientWidth)(document.getElementById('table'))")


def test_a_loss_that_is_not_finite_is_told(opened):
    page = opened()
    for label, value in (("Loss", "MeanSquaredError"), ("Optimizer", "SGD"), ("Activation", "ReLU"), ("Learning rate", "1000")):
        choose(page, label, value)
    page.get_by_role("button", name="Run").click()
    page.get_by_role("alert").wait_for()
    assert re.match(r"the loss is (inf|nan) in epoch \d+.*Training is paused", page.get_by_role("alert").inner_text())
    until(page, PAUSED)
