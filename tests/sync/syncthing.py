"""Two Syncthing instances on the loopback interface, each with a home of its own."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree

from clients import Client
from device import Broken, run, until

FOLDER = "vault"
KEY = "only-for-this-test"
# How long both may take to agree once nothing changes any more.
PATIENCE = 90


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def element(parent, name, text):
    found = parent.find(name)
    if found is None:
        found = ElementTree.SubElement(parent, name)
    found.text = text
    return found


class Instance:
    """One of the two: it keeps one backing."""

    def __init__(self, home, device):
        self.home = home / device.name
        self.device = device
        self.gui, self.port = free_port(), free_port()
        self.env = dict(device.env, HOME=str(self.home), STNOUPGRADE="1", STNODEFAULTFOLDER="1")
        self.server = None
        done = run(["syncthing", "generate", "--home", self.home, "--no-default-folder",
                    "--skip-port-probing"], self.env)
        if done.returncode != 0:
            raise Broken(f"syncthing generate: {done.stdout}{done.stderr}")
        self.config = ElementTree.parse(self.home / "config.xml")
        self.id = self.config.getroot().find("device").get("id")

    def configure(self, other):
        """Knows the other one by its address; asks nobody else in the world."""
        root = self.config.getroot()
        gui = root.find("gui")
        element(gui, "address", f"127.0.0.1:{self.gui}")
        element(gui, "apikey", KEY)
        options = root.find("options")
        for name in ("globalAnnounceEnabled", "localAnnounceEnabled", "relaysEnabled",
                     "natEnabled", "startBrowser", "crashReportingEnabled"):
            element(options, name, "false")
        element(options, "listenAddress", f"tcp://127.0.0.1:{self.port}")
        element(options, "urAccepted", "-1")
        element(options, "autoUpgradeIntervalH", "0")
        element(options, "reconnectionIntervalS", "1")
        element(options, "setLowPriority", "false")
        peer = ElementTree.SubElement(root, "device", id=other.id, name=other.device.name)
        element(peer, "address", f"tcp://127.0.0.1:{other.port}")
        folder = ElementTree.SubElement(
            root, "folder", id=FOLDER, label=FOLDER, path=str(self.device.backing),
            type="sendreceive", rescanIntervalS="10", fsWatcherEnabled="true", fsWatcherDelayS="1",
        )
        for known in (self, other):
            ElementTree.SubElement(folder, "device", id=known.id)
        element(folder, "maxConflicts", "-1")
        self.config.write(self.home / "config.xml")
        (self.device.backing / ".stfolder").mkdir()
        (self.device.backing / ".stignore").write_text("~keepfs-*.tmp\n", encoding="utf-8")

    def start(self):
        with open(self.home / "log", "ab") as log:
            self.server = subprocess.Popen(
                ["syncthing", "serve", "--home", str(self.home), "--no-browser", "--no-restart"],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )
        if not until(self.answers, 60):
            raise Broken(f"syncthing of {self.device.name} does not answer")

    def answers(self):
        try:
            return self.ask("GET", "/rest/system/ping")["ping"] == "pong"
        except (OSError, ValueError):
            if self.server.poll() is not None:
                raise Broken(f"syncthing of {self.device.name} ended by itself") from None
            return False

    def ask(self, method, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.gui}{path}", method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"X-API-Key": KEY},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def stop(self):
        if self.server is None:
            return
        try:
            self.ask("POST", "/rest/system/shutdown")
        except (OSError, ValueError):
            self.server.terminate()
        try:
            self.server.wait(30)
        except subprocess.TimeoutExpired:
            # It watches over a process of its own, which is in the same session.
            os.killpg(self.server.pid, signal.SIGKILL)
            self.server.wait()
        self.server = None

    def pause(self, paused):
        self.ask("PATCH", f"/rest/config/folders/{FOLDER}", {"paused": paused})

    def scan(self):
        try:
            self.ask("POST", f"/rest/db/scan?folder={FOLDER}")
        except urllib.error.HTTPError as error:
            # While it restarts a folder there is none.
            if error.code not in (404, 500):
                raise

    def status(self):
        return self.ask("GET", f"/rest/db/status?folder={FOLDER}")

    def troubles(self):
        answer = self.ask("GET", f"/rest/folder/errors?folder={FOLDER}")
        return [f"{self.device.name}: {each['path']}: {each['error']}" for each in answer["errors"] or []]


class Syncthing(Client):
    name = shown = "syncthing"

    def start(self):
        self.two = [Instance(self.home, device) for device in (self.left, self.right)]
        self.two[0].configure(self.two[1])
        self.two[1].configure(self.two[0])
        for instance in self.two:
            instance.start()
        self.settle()

    def stop(self):
        for instance in getattr(self, "two", []):
            instance.stop()

    def offline(self):
        for instance in self.two:
            instance.pause(True)

    def online(self):
        for instance in self.two:
            instance.pause(False)

    def idle(self):
        for instance, other in (self.two, self.two[::-1]):
            try:
                status = instance.status()
                peers = instance.ask("GET", "/rest/system/connections")["connections"]
            except urllib.error.HTTPError:
                return False
            if not peers[other.id]["connected"]:
                return False
            if status["state"] != "idle" or status["needTotalItems"] != 0:
                return False
        return True

    def settle(self):
        """Both have looked at everything, need nothing, and hold the same bytes."""
        for device in (self.left, self.right):
            device.quiet()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            for instance in self.two:
                instance.scan()
            if until(self.idle, 5, pause=0.2) and self.equal():
                return
        states = [instance.status() for instance in self.two]
        raise Broken(
            "syncthing does not settle: "
            + "; ".join(f"{state['state']}, needs {state['needTotalItems']}" for state in states)
            + "; " + "; ".join(self.unequal() + [line for each in self.two for line in each.troubles()])
        )
