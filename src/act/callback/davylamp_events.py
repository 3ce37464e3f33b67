# What a play does, as JSON lines in the file that the environment names: one line per task and host, and the statistics
# at the end. davylamp reads its verdict from the statistics; without them a run never counts as succeeded.
from __future__ import annotations

import json
import os

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: davylamp_events
type: aggregate
short_description: writes task results and statistics as JSON lines
description:
  - Writes to the file named by DAVYLAMP_EVENTS. Does nothing when the variable is not set.
requirements:
  - set in the environment by davylamp
"""

LIMIT_MESSAGE = 300
LIMIT_NAME = 120
LIMIT_FILE = 512 * 1024


def cut(value, limit):
    text = value if isinstance(value, str) else str(value)
    return "".join(c if c.isprintable() else " " for c in text[:limit])


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "davylamp_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        path = os.environ.get("DAVYLAMP_EVENTS")
        self._written = 0
        self._skipped = 0
        self._file = None
        if path is None:
            self.disabled = True
            return
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o600)

    def _write(self, event, always=False):
        line = (json.dumps(event) + "\n").encode()
        if not always and self._written + len(line) > LIMIT_FILE:
            self._skipped += 1
            return
        self._written += len(line)
        while line:
            line = line[os.write(self._file, line):]

    def _task(self, result, status, ignored=False):
        task, data = result._task, result._result
        censored = bool(getattr(task, "no_log", False)) or bool(data.get("_ansible_no_log"))
        message = ""
        if not censored:
            for key in ("msg", "stderr", "reason", "exception", "module_stderr"):
                if data.get(key):
                    message = data[key]
                    break
        self._write({
            "event": "task",
            "host": cut(result._host.get_name(), LIMIT_NAME),
            "task": cut("" if censored else task.get_name(), LIMIT_NAME),
            "module": cut(task.action, LIMIT_NAME),
            "status": status,
            "changed": bool(data.get("changed", False)),
            "ignored": bool(ignored),
            "message": "(no_log)" if censored else cut(message, LIMIT_MESSAGE),
        })

    def v2_runner_on_ok(self, result):
        self._task(result, "ok")

    def v2_runner_on_skipped(self, result):
        self._task(result, "skipped")

    def v2_runner_on_failed(self, result, ignore_errors=False):
        self._task(result, "failed", ignore_errors)

    def v2_runner_on_unreachable(self, result):
        self._task(result, "unreachable", bool(getattr(result._task, "ignore_unreachable", False)))

    def v2_playbook_on_stats(self, stats):
        hosts = {}
        for host in sorted(stats.processed):
            counts = stats.summarize(host)
            hosts[host] = {key: counts[key] for key in
                           ("ok", "changed", "failures", "unreachable", "skipped", "rescued", "ignored")}
        self._write({"event": "stats", "hosts": hosts, "tasks_skipped": self._skipped}, always=True)
        os.fsync(self._file)
