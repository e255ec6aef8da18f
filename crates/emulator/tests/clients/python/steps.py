"""What the scripts of the Python clients share: steps that are the assertions, and the road to the emulator.

A script decorates functions with `step` and ends with `run`. Each step prints one line, a failed one does not keep the
next from running, and the last line counts them. The address of the emulator and of its admin port are in the
environment: ONCEBUS_SERVICE_BUS and ONCEBUS_ADMIN.
"""

import itertools
import json
import os
import sys
import time
import traceback
import urllib.request
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

ADDRESS = os.environ["ONCEBUS_SERVICE_BUS"].rstrip("/")
ADMIN = os.environ["ONCEBUS_ADMIN"].rstrip("/")

# The default rule of the emulator's namespace.
RULE, KEY = "RootManageSharedAccessKey", "SAS_KEY_VALUE"

_steps = []
_names = itertools.count(1)


def step(function):
    """Makes a function a step. Its name, read as a sentence, is what the step promises."""
    _steps.append(function)
    return function


def fresh(kind):
    """A name that no other step has."""
    return f"{kind}-{next(_names)}"


def run():
    """Runs all steps in their order and ends the program; its status says whether all passed."""
    passed = 0
    for function in _steps:
        name = function.__name__.replace("_", " ")
        started = time.monotonic()
        try:
            function()
        except Exception as error:  # pylint: disable=broad-except
            line = traceback.extract_tb(error.__traceback__)
            here = next((frame for frame in reversed(line) if frame.filename == sys.argv[0]), line[-1])
            what = f"line {here.lineno}: {type(error).__name__}: {error}"
            print(f"FAIL {name}: {what}", flush=True)
        else:
            passed += 1
            print(f"ok   {name} ({time.monotonic() - started:.2f} s)", flush=True)
    print(f"{passed} of {len(_steps)} steps passed", flush=True)
    sys.exit(0 if passed and passed == len(_steps) else 1)


def equal(found, expected):
    if found != expected:
        raise AssertionError(f"found {found!r}, expected {expected!r}")


def raises(kind, call, *arguments, status=None, saying="", **named):
    """Calls, and demands an exception of this kind, with this status and text when they are given."""
    try:
        found = call(*arguments, **named)
    except kind as error:
        if status is not None:
            equal(getattr(error, "status_code", None), status)
        if saying not in str(error):
            raise AssertionError(f"{saying!r} is not in {error}") from error
        return error
    raise AssertionError(f"expected {kind.__name__}, found {found!r}")


def advance(seconds):
    """Moves the emulator's clock forward."""
    body = json.dumps({"advance_seconds": seconds}).encode()
    with urllib.request.urlopen(urllib.request.Request(ADMIN + "/clock", data=body, method="POST")) as answer:
        equal(answer.status, 200)


class ToEmulator(HTTPAdapter):
    """Takes what is meant for https://anything to the emulator: the client signs, names and reads as it would live."""

    def send(self, request, *arguments, **named):  # pylint: disable=arguments-differ
        url = urlsplit(request.url)
        request.headers["Host"] = url.netloc
        request.url = ADDRESS + url.path + (f"?{url.query}" if url.query else "")
        return super().send(request, *arguments, **named)


def session():
    """A session whose requests all reach the emulator, whatever the environment says about proxies."""
    made = requests.Session()
    made.trust_env = False
    made.mount("https://", ToEmulator())
    return made
