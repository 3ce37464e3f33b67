#!/usr/bin/env python3
"""Draws docs/dashboard.png and docs/status.png, the pictures in the README.

Starts `davylamp demo` and a Prometheus that scrapes it, waits until the demo's story is on the graphs, asks Prometheus
the queries of the fleet dashboard as Grafana would (variables, steps, rate interval) and draws the panels on Grafana's
grid as HTML, which headless Chromium photographs, as it does the status page. Every figure is Prometheus' answer; every
unit, threshold and word is the file's. Needs `cargo build` first; in PATH prometheus, chromium and ansible-playbook.
"""
import argparse, contextlib, json, math, re, socket, subprocess, tempfile, time, urllib.parse, urllib.request
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRAPE, GAP, ROW = 5, 8, 38  # seconds between scrapes; pixels between panels; pixels of one row of the grid
COLOURS = {"green": "#73BF69", "yellow": "#FADE2A", "blue": "#5794F2", "orange": "#FF9830", "red": "#F2495C", "purple": "#B877D9"}
TEXT, GREY = "#CCCCDC", 'stroke="#ccccdc" stroke-opacity=".07"'

CSS = """
body{background:#111217;color:#CCCCDC;font:12px Inter,'DejaVu Sans Condensed',sans-serif;margin:0}
header{display:flex;gap:8px;align-items:center;padding:10px 14px 0;height:30px}h1{font-size:17px;margin:0 14px 0 0}
header span{border:1px solid #ccccdc33;border-radius:2px;padding:4px 8px;background:#181b1f}header em{color:#6E9FFF;font-style:normal}
header .push{margin-left:auto}footer{position:absolute;left:14px;color:#ccccdc88;font-size:11px}
.panel{position:absolute;box-sizing:border-box;background:#181b1f;overflow:hidden;border:1px solid #ccccdc1f;border-radius:2px}
h2{font-size:13px;font-weight:500;margin:0;padding:8px 10px 0}.none{color:#8e8e99;text-align:center;padding-top:30px;font-size:14px}
svg{display:block}.big{position:absolute;left:12px;top:44px;font-size:30px;font-weight:600}.big small{font-size:.6em;padding-left:.2em}
.spark{position:absolute;left:0;bottom:0}table{border-collapse:collapse;width:100%;margin-top:4px}th{color:#6E9FFF;font-weight:500}
td,th{text-align:left;padding:0 8px;height:29px;white-space:nowrap;border:1px solid #ccccdc12;border-width:0 1px 1px 0}
.num{text-align:right}.legend{width:auto;min-width:45%;margin:0 8px}.legend td,.legend th{height:19px;border:0}
.legend i{display:inline-block;width:14px;height:4px;border-radius:2px;margin-right:7px;vertical-align:middle}
.bar{display:flex;align-items:center;gap:8px;padding:0 10px;margin-top:6px}.bar b{width:92px;font-weight:400;text-align:right;flex:none}
.bar div{flex:1;height:100%;background:#22252b;position:relative}.bar i{position:absolute;inset:0 auto 0 0;opacity:.75}
.bar u{width:70px;text-decoration:none;font-size:14px;flex:none}
"""


def digits(value, decimals):
    """A number with the decimals asked for, or with three figures that count."""
    if decimals is None:
        decimals = 0 if value == int(value) else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def unit(value, name, decimals):
    """Text and unit of a value in one of Grafana's units."""
    if name in ("Hs", "watt"):
        power = min(6, int(math.log10(abs(value)) // 3)) if abs(value) >= 1 else 0
        return digits(value / 1000**power, decimals), ["", "k", "M", "G", "T", "P", "E"][power] + {"Hs": "H/s", "watt": "W"}[name]
    if name == "percentunit":
        return digits(value * 100, decimals) + "%", ""
    if name == "dtdurations":
        size, word = next((one for one in ((86400, "day"), (3600, "hour"), (60, "minute")) if value >= one[0]), (1, "second"))
        return f"{value // size:.0f} {word}{'s' * (value // size != 1)}", ""
    return digits(value, decimals), name[7:] if name.startswith("suffix:") else {"celsius": "°C", "dBm": "dBm"}.get(name, "")


def shown(value, config):
    """Text, unit and colour of a value under a field's settings: mappings first, then unit and thresholds."""
    if isinstance(value, str):
        return value, "", TEXT
    for word in (mapping["options"].get(digits(value, None)) for mapping in config["mappings"]):
        if word:
            return word["text"], "", COLOURS[word["color"]]
    steps = [step for step in config["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
    return *unit(value, config["unit"], config.get("decimals")), COLOURS[steps[-1]["color"]]


def plain(value, config):
    return " ".join(shown(value, config)[:2]).strip()


class Grafana:
    """What a dashboard asks of its data source, with the time range and the variables of the page."""
    def __init__(self, prometheus, dashboard, end, span):
        self.prometheus, self.end, self.span, self.start = prometheus, end, span, end - span
        self.variables = {one["name"]: one.get("allValue", "") for one in dashboard["templating"]["list"]}

    def ask(self, query, width=600):
        """The step and the series of a query: (seconds, [(labels, {time: value})])."""
        least = int((query.get("interval") or query["step"]).removesuffix("s"))
        step = max(least, math.ceil(self.span / width))  # a point for each pixel, but never finer than the query allows
        known = {"__interval": f"{step}s", "__rate_interval": f"{max(step + SCRAPE, 4 * SCRAPE)}s", "__range": f"{self.span}s"}
        expr = re.sub(r"\$(\w+)", lambda found: {**self.variables, **known}.get(found[1], found[0]), query["expr"])
        path, times = "query_range", {"start": self.start // step * step, "end": self.end // step * step, "step": step}
        if query.get("instant"):
            path, times = "query", {"time": self.end}
        text = urllib.parse.urlencode({"query": expr, **times})
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/{path}?{text}", timeout=20) as reply:
            points = [(one["metric"], one.get("values") or [one["value"]]) for one in json.load(reply)["data"]["result"]]
        return step, [(labels, {int(at): float(value) for at, value in pairs}) for labels, pairs in points]

    def series(self, panel, width):
        """All series of a panel: (legend, {time: value}, step)."""
        for target in panel["targets"]:
            step, found = self.ask(target, width)
            for labels, points in found:
                yield re.sub(r"\{\{(\w+)\}\}", lambda name: labels.get(name[1], ""), target["legendFormat"]), points, step

    def marks(self, dashboard):
        """What the dashboard marks on its graphs: (colour, begin, end)."""
        for query in (one for one in dashboard["annotations"]["list"] if "expr" in one):
            step, found = self.ask(query)
            for _, points in found:
                edges = [at for at in points if at - step not in points], [at for at in points if at + step not in points]
                yield from ((COLOURS[query["iconColor"]], begin, end) for begin, end in zip(*edges))


class Scale:
    """From time and value to pixels."""
    def __init__(self, grafana, low, high, left, right, top, bottom):
        self.start, self.span, self.low, self.high = grafana.start, grafana.span, low, high
        self.left, self.right, self.top, self.bottom = left, right, top, bottom

    def x(self, at):
        return self.left + max(0, (at - self.start) / self.span) * (self.right - self.left)

    def y(self, value):
        return self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)

    def curve(self, points, step, colour, opacity):
        """A line and the area below it, broken where points are missing."""
        runs = []
        for at, value in points.items():
            if at - step not in points:
                runs.append([])
            runs[-1].append((self.x(at), self.y(value)))
        for run in runs:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
            yield (f'<polygon points="{run[0][0]:.1f},{self.bottom} {line} {run[-1][0]:.1f},{self.bottom}" fill="{colour}" '
                   f'fill-opacity="{opacity}"/><polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.4"/>')

    def times(self):
        """Vertical lines with the time of day below them."""
        size = next(one for one in (10, 15, 30, 60, 120, 300, 900) if one / self.span * (self.right - self.left) >= 80)
        for at in range(math.ceil(self.start / size) * size, self.start + self.span + 1, size):
            word = time.strftime("%H:%M:%S" if size % 60 else "%H:%M", time.gmtime(at))
            yield f'<path d="M{self.x(at):.1f} {self.top}V{self.bottom}" {GREY}/>'
            if self.left + 20 < self.x(at) < self.right - 20:
                yield f'<text x="{self.x(at):.1f}" y="{self.bottom + 16}" text-anchor="middle">{word}</text>'

    def mark(self, colour, begin, end):
        """A time in which something held: dashed at its edges, tinted between them, a bar on the axis."""
        left, right, tall = self.x(begin), self.x(end), self.bottom - self.top
        yield (f'<path d="M{left:.1f} {self.top}v{tall}M{right:.1f} {self.top}v{tall}" stroke="{colour}" stroke-dasharray="3 3"/>'
               f'<rect x="{left:.1f}" y="{self.top}" width="{right - left:.1f}" height="{tall}" fill="{colour}" fill-opacity=".06"/>'
               f'<rect x="{left - 2:.1f}" y="{self.bottom}" width="{right - left + 4:.1f}" height="3" fill="{colour}"/>')


def ticks(low, high, count, whole):
    """Round numbers that enclose low and high."""
    raw = max((high - low) / count, 1 if whole else 1e-9)
    size = next(one for power in range(-12, 24) for factor in (1, 2, 2.5, 5) if (one := factor * 10.0**power) >= raw)
    return [index * size for index in range(math.floor(low / size), math.ceil(high / size) + 1)]


# Panels: each takes (panel, grafana, width, height) of its body and returns HTML, or nothing without data.
def stat(panel, grafana, width, height):
    for _, points, step in grafana.series(panel, width):
        text, tail, colour = shown(list(points.values())[-1], panel["fieldConfig"]["defaults"])
        low, high, tall = min(points.values()), max(points.values()), round(height * 0.45)
        line = Scale(grafana, low - (high == low), high, 0, width, 2, tall).curve(points, step, colour, 0.16)
        return (f'<svg class="spark" width="{width}" height="{tall}">{"".join(line)}</svg>'
                f'<div class="big" style="color:{colour}">{text}<small>{tail}</small></div>')


def timeseries(panel, grafana, width, height):
    config, found = panel["fieldConfig"]["defaults"], list(grafana.series(panel, width))
    if not found:
        return None
    bottom, right = height - 19 * (len(found) + 1) - 34, width - 10
    values = [value for _, points, _ in found for value in points.values()]
    levels = ticks(config.get("min", min(values)), max(values), max(2, bottom // 42), config.get("decimals") == 0)
    words = [plain(level, config) for level in levels]
    left = 14 + 6.3 * max(map(len, words))
    scale = Scale(grafana, levels[0], levels[-1], left, right, 8, bottom)
    parts, legend = list(scale.times()), []
    for level, word in zip(levels, words):
        parts.append(f'<path d="M{left:.1f} {scale.y(level):.1f}H{right}" {GREY}/>'
                     f'<text x="{left - 6:.1f}" y="{scale.y(level) + 4:.1f}" text-anchor="end">{word}</text>')
    for (name, points, step), colour in zip(found, COLOURS.values()):  # Grafana takes a colour by the name's hash
        parts += scale.curve(points, step, colour, config["custom"]["fillOpacity"] / 100)
        last, most = (plain(value, config) for value in (list(points.values())[-1], max(points.values())))
        legend.append(f'<tr><td><i style="background:{colour}"></i>{escape(name)}</td><td class="num">{last}<td class="num">{most}')
    parts += (part for mark in grafana.shared for part in scale.mark(*mark))
    return (f'<svg width="{width}" height="{bottom + 24}" font-size="11" fill="#a4a4b0">{"".join(parts)}</svg><table class="legend">'
            f'<tr><th>Name</th><th class="num">Last *</th><th class="num">Max</th></tr>{"".join(legend)}</table>')


def bargauge(panel, grafana, width, height):
    config, found, bars = panel["fieldConfig"]["defaults"], list(grafana.series(panel, width)), []
    low, high = config["min"], config["max"]
    for name, points, _ in found:
        value = list(points.values())[-1]
        share = min(1, max(0.001, (value - low) / (high - low)))
        stops = [(0 if step["value"] is None else (step["value"] - low) / (high - low), COLOURS[step["color"]])
                 for step in config["thresholds"]["steps"]]
        reached = [f"{colour} {at / share:.0%}" for at, colour in stops if at <= share]
        bars.append(f'<div class="bar" style="height:{min(34, (height - 8) / len(found) - 6):.0f}px"><b>{escape(name)}</b><div><i '
                    f'style="width:{share:.1%};background:linear-gradient(90deg,{",".join(reached)},{reached[-1][:7]})"></i></div>'
                    f'<u style="color:{shown(value, config)[2]}">{plain(value, config)}</u></div>')
    return "".join(bars)


def table(panel, grafana, width, height):
    """Instant queries merged on the labels they share, then put in order and renamed, as the transformations say."""
    frames = []
    for target in panel["targets"]:
        name = f"Value #{target['refId']}" if len(panel["targets"]) > 1 else "Value"
        frames.append([{**labels, name: list(points.values())[0]} for labels, points in grafana.ask(target)[1]])
    shared, rows = set.intersection(*(set(frame[0]) for frame in frames if frame)) if any(frames) else set(), []
    for row in (row for frame in frames for row in frame):
        old = next((old for old in rows if all(old[key] == row[key] for key in shared) and
                    all(old.get(key, value) == value for key, value in row.items())), None)
        rows.append(row) if old is None else old.update(row)
    order = panel["transformations"][1]["options"]
    names, columns = {name for row in rows for name in row} - set(order["excludeByName"]), []
    for name in sorted(names, key=order["indexByName"].get):
        title, config = order["renameByName"][name], {**panel["fieldConfig"]["defaults"]}
        ours = (override for override in panel["fieldConfig"]["overrides"] if override["matcher"]["options"] == title)
        config.update((one["id"], one["value"]) for override in ours for one in override["properties"])
        columns.append((name, title, config, "num" if any(isinstance(row.get(name), float) for row in rows) else ""))
        if panel["options"]["sortBy"][0]["displayName"] == title:
            rows.sort(key=lambda row: row.get(name, math.inf), reverse=panel["options"]["sortBy"][0]["desc"])

    def cell(value, config, css):
        colour = shown(value, config)[2] if "custom.cellOptions" in config else TEXT
        return f'<td class="{css}" style="color:{colour}">{escape(plain(value, config))}'

    heads = (f'<th class="{css}" style="width:{config["custom.width"] - 17}px">{title}' if "custom.width" in config else
             f"<th>{title}" for _, title, config, css in columns)
    lines = ("<tr>" + "".join(cell(row.get(name, ""), config, css) for name, _, config, css in columns) for row in rows)
    return f'<table><tr>{"".join(heads)}{"".join(lines)}</table>' if rows else None


PANELS = {"stat": stat, "timeseries": timeseries, "bargauge": bargauge, "table": table}


def page(dashboard, grafana, width):
    """The dashboard as HTML, and its height in pixels."""
    column, parts, low = (width - GAP) / 24, [], 0
    grafana.shared = list(grafana.marks(dashboard))
    for panel in dashboard["panels"]:
        at, none = panel["gridPos"], f'<div class="none">{escape(panel["fieldConfig"]["defaults"]["noValue"])}</div>'
        x, y, wide, tall = GAP + at["x"] * column, 48 + at["y"] * ROW, int(at["w"] * column - GAP), at["h"] * ROW - GAP
        body = PANELS[panel["type"]](panel, grafana, wide - 2, tall - 34)
        parts.append(f'<div class="panel" style="left:{x:.0f}px;top:{y}px;width:{wide}px;height:{tall}px">'
                     f'<h2>{escape(panel["title"])}</h2>{body or none}</div>')
        low = max(low, y + tall)
    chosen = "".join(f"<span>{one['label']} &nbsp;<em>All</em></span>" for one in dashboard["templating"]["list"] if one["type"] == "query")
    source = f"{dashboard['uid']}.json and Prometheus' answers by docs/pictures.py; Grafana draws the same file"
    return (f'<!doctype html><meta charset="utf-8"><style>{CSS}</style><header><h1>{escape(dashboard["title"])}</h1>{chosen}'
            f'<span class="push">Last {grafana.span // 60} minutes · UTC</span></header>{"".join(parts)}'
            f'<footer style="top:{low + 6}px">drawn from {source}</footer>'), low + 28


def photograph(url, name, width, height):
    with tempfile.TemporaryDirectory() as profile:
        flags = ["headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking", "disable-component-update",
                 "disable-sync", "hide-scrollbars", f"window-size={width},{height}", f"screenshot={HERE / name}"]
        command = ["chromium", *(f"--{flag}" for flag in flags), f"--user-data-dir={profile}", url]
        subprocess.run(command, check=True, timeout=90, capture_output=True)
    print(f"docs/{name}: {(HERE / name).stat().st_size // 1000} kB")


@contextlib.contextmanager
def running(*command):
    """A program that ends with the block, however that ends."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(15)
        process.kill()


def main():
    say = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    say.add_argument("--wait", type=int, default=130, help="seconds; at 130 one miner is repaired, one is back, one still too hot")
    wait = min(590, say.parse_args().wait)
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        daemon, prometheus = (f"127.0.0.1:{free.getsockname()[1]}" for free in (one, other))
    with tempfile.TemporaryDirectory(prefix="davylamp-pictures-") as name:
        folder = Path(name)
        scrape = {"job_name": "davylamp", "scrape_interval": f"{SCRAPE}s", "static_configs": [{"targets": [daemon]}]}
        (folder / "prometheus.yml").write_text(json.dumps({"scrape_configs": [scrape]}), "utf-8")  # JSON is YAML
        with running(HERE / "../target/debug/davylamp", "demo", "--listen", daemon, "--keep", folder / "demo", "--seconds", "600"), \
                running("prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                        f"--web.listen-address={prometheus}"):
            time.sleep(wait)
            dashboard = json.loads((folder / "demo/grafana-dashboards/miners/davylamp-fleet.json").read_text("utf-8"))
            grafana = Grafana(f"http://{prometheus}", dashboard, int(time.time()), max(60, wait // 60 * 60))
            text, height = page(dashboard, grafana, 1500)
            (folder / "page.html").write_text(text, "utf-8")
            photograph(f"file://{folder}/page.html", "dashboard.png", 1500, height)
            photograph(f"http://{daemon}/", "status.png", 1150, 1010)


if __name__ == "__main__":
    main()
