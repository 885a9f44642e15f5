"""Debian's Chromium without a window, driven by Selenium."""

import json
import shutil
import threading
import time
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import uvicorn
from PIL import Image

from headwater.core.local_server import address_of, bound_port
from headwater.report.view import HOST, view_app

_SWITCHES = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-component-update", "--no-first-run",
)  # fmt: skip


def missing():
    """Return why tests with a browser cannot run, None if they can."""
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"{' and '.join(lacking)} not installed (Debian: chromium, chromium-driver)" if lacking else None


class Browser:
    """One browser; each page is opened in the same tab."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, address, *, size=(1000, 700), drawn=True):
        """Open a page and wait until its map is drawn; return the milliseconds that took, as the page counts them."""
        self.driver.get("about:blank")  # else a page with another fragment is not loaded again
        self.logs()
        width, height = size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get(address)
        return self.until("return document.documentElement.dataset.drawn") if drawn else None

    def run(self, script, *arguments):
        """Run a script in the page."""
        return self.driver.execute_script(script, *arguments)

    def until(self, script, *arguments, seconds=60):
        """Run a script until it returns something true; return that."""
        end = time.monotonic() + seconds
        while not (value := self.run(script, *arguments)):
            assert time.monotonic() < end, (
                script,
                self.driver.get_log("browser"),
                self.run("return document.body.innerText"),
            )
            time.sleep(0.05)
        return value

    def settle(self):
        """Wait until the map has drawn what was changed."""
        self.run("window.settled = false; map.once('idle', () => window.settled = true); map.triggerRepaint()")
        self.until("return window.settled")

    def click(self, x, y):
        """Click on a place of the page as a mouse does."""
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            button = {} if kind == "mouseMoved" else {"button": "left", "clickCount": 1}
            self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **button})

    def pixels(self):
        """Return what is on the screen, (y, x, 3) int."""
        with Image.open(BytesIO(self.driver.get_screenshot_as_png())) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    def logs(self):
        """Return the messages of the console since the last call, and the addresses that were asked for."""
        messages = [entry["message"] for entry in self.driver.get_log("browser")]
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        return messages, [address for address in asked if not address.startswith(("blob:", "data:", "about:"))]


@contextmanager
def chromium(folder):
    """Start a browser whose profile is in a folder."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for switch in (*_SWITCHES, f"--user-data-dir={folder}"):
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@contextmanager
def served(folder):
    """Serve the results of a basin as `headwater view` does; yield the address."""
    with bound_port(HOST, 0) as listener:
        server = uvicorn.Server(uvicorn.Config(view_app(folder), log_level="warning", lifespan="off", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield address_of(listener)
        server.should_exit = True
        thread.join()
