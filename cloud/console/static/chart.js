// The chart of the data page: drawn from what the page brought along, and
// continued by the live tail. Gaps are gaps: a bad reading, or a silence of
// more than five usual intervals, is never bridged by a line.
"use strict";

(() => {
  const holder = document.getElementById("chart");
  const source = document.getElementById("chart-data");
  if (!source) return;
  const series = JSON.parse(source.textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const stepped = series.kind === "bool";
  let plot = null;

  // columns returns what uPlot draws, in seconds, with a null in each silence.
  function columns() {
    const t = series.times, gaps = [];
    for (let i = 1; i < t.length; i++) gaps.push(t[i] - t[i - 1]);
    const usual = gaps.length ? gaps.slice().sort((a, b) => a - b)[gaps.length >> 1] : 0;
    const names = series.rollup ? ["values", "min", "max"] : ["values"];
    const out = [[], ...names.map(() => [])];
    for (let i = 0; i < t.length; i++) {
      if (i > 0 && usual > 0 && t[i] - t[i - 1] > 5 * usual) {
        out[0].push((t[i - 1] + usual) / 1000);
        names.forEach((_, k) => out[k + 1].push(null));
      }
      out[0].push(t[i] / 1000);
      names.forEach((n, k) => out[k + 1].push(series[n][i]));
    }
    return out;
  }

  // ticks writes times as the rest of the page does: 24 hours, the date where it begins.
  function ticks(u, splits, axis, space, step) {
    let day = "";
    return splits.map((s) => {
      const iso = new Date(s * 1000).toISOString(), date = iso.slice(0, 10);
      const text = step >= 86400 ? date.slice(5) : iso.slice(11, step < 60 ? 19 : 16) + (date === day ? "" : "\n" + date);
      day = date;
      return text;
    });
  }

  function options() {
    const ink = color("--soft"), grid = color("--line"), line = color("--accent");
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "12px system-ui, sans-serif" };
    const draw = (label, stroke, width) => ({
      label, stroke, width, spanGaps: false, points: { show: (u, k, from, to) => to - from < 40 },
      paths: stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
      value: (u, v) => v == null ? "—" : stepped ? (v ? "on" : "off") : Number(v.toPrecision(6)) + (series.unit ? " " + series.unit : ""),
    });
    const lines = [draw(series.rollup ? "mean" : series.point, line, 2)];
    if (series.rollup) lines.push({ ...draw("min", line, 0), points: { show: false } }, { ...draw("max", line, 0), points: { show: false } });
    const box = holder.getBoundingClientRect();
    return {
      width: Math.max(200, Math.floor(box.width)), height: Math.max(160, Math.floor(box.height) - 40),
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "Etc/UTC"),
      cursor: { y: false }, legend: { live: true },
      scales: { x: { range: () => [series.from_ms / 1000, series.to_ms / 1000] }, y: stepped ? { range: [-0.1, 1.1] } : {} },
      series: [{ label: "time", value: (u, v) => v == null ? "—" : new Date(v * 1000).toISOString().slice(11, 19) }, ...lines],
      bands: series.rollup ? [{ series: [3, 2], fill: color("--band") }] : [],
      axes: [{ ...axis, values: ticks }, { ...axis, size: 56, splits: stepped ? () => [0, 1] : undefined, values: stepped ? () => ["off", "on"] : undefined }],
    };
  }

  function redraw() {
    if (!holder) return;
    if (plot) plot.destroy();
    holder.replaceChildren();
    plot = new uPlot(options(), columns(), holder);
  }

  // The tail may be faster than a screen: draw at most once a frame.
  let due = false;
  function refresh() {
    if (due || !plot) return;
    due = true;
    requestAnimationFrame(() => { due = false; plot.setData(columns()); });
  }

  const text = (v) => v === null ? "—" : typeof v === "boolean" ? (v ? "on" : "off") : String(v).replace("-", "−");
  const number = (v) => typeof v === "number" ? v : typeof v === "boolean" ? Number(v) : null;
  const stamp = (ms) => new Date(ms).toISOString().replace("T", " ").slice(0, 19) + " UTC";

  function add(reading) {
    const last = series.times.length - 1;
    if (last >= 0 && reading.time_ms <= series.times[last]) return; // a backlog: the next load of the page shows it
    series.times.push(reading.time_ms);
    series.values.push(reading.quality === "bad" ? null : number(reading.value));
    series.to_ms = Math.max(series.to_ms, reading.time_ms);
    series.from_ms = series.to_ms - series.span_ms;
    while (series.times[0] < series.from_ms) { series.times.shift(); series.values.shift(); }
    tell(reading);
  }

  // age says how old the newest reading is, also when no other follows.
  function age() {
    const when = document.getElementById("newest-time");
    if (!when) return;
    const s = Math.floor((Date.now() - Date.parse(when.dateTime)) / 1000);
    when.textContent = s < 1 ? "now" : s < 60 ? s + " s ago" : s < 3600 ? Math.floor(s / 60) + " min " + s % 60 + " s ago" : when.title;
  }

  function tell(reading) {
    const newest = document.getElementById("newest"), when = document.getElementById("newest-time");
    if (newest) {
      newest.textContent = reading.quality === "bad" ? "bad" : text(reading.value);
      newest.classList.toggle("warn", reading.quality === "bad");
      when.dateTime = new Date(reading.time_ms).toISOString();
      when.title = stamp(reading.time_ms);
      age();
    }
    document.getElementById("count").textContent = String(series.times.length).replace(/\B(?=(\d{3})+$)/g, "\u202f");
    const body = document.getElementById("readings");
    if (!body) return;
    const row = body.insertRow(0);
    const time = document.createElement("time");
    time.dateTime = new Date(reading.time_ms).toISOString();
    time.textContent = stamp(reading.time_ms);
    row.insertCell().append(time);
    const value = row.insertCell();
    value.className = "num";
    value.textContent = text(reading.value);
    const badge = document.createElement("span");
    badge.className = "badge " + reading.quality;
    badge.textContent = reading.quality;
    row.insertCell().append(badge);
    row.insertCell().textContent = reading.reason || "";
    while (body.rows.length > 100) body.deleteRow(-1);
  }

  function follow() {
    const state = document.getElementById("live-state");
    const say = (word, kind, why) => { state.textContent = word; state.className = "pill " + kind; state.title = why || ""; };
    const query = new URLSearchParams({ site: series.site, gateway: series.gateway, points: series.point });
    const tail = new EventSource("/api/v1/live?" + query);
    tail.addEventListener("readings", (event) => {
      for (const r of JSON.parse(event.data).readings) if (r.point === series.point) add(r);
      refresh();
    });
    tail.addEventListener("state", (event) => {
      const s = JSON.parse(event.data);
      say(s.state, s.state === "live" ? "ok" : "bad", s.text);
    });
    tail.addEventListener("end", (event) => say("reconnecting", "bad", JSON.parse(event.data).text));
    tail.onerror = () => say(tail.readyState === EventSource.CLOSED ? "not live" : "reconnecting", "bad", "The live tail is interrupted; load the page again to see what was missed.");
    addEventListener("pagehide", () => tail.close());
  }

  if (holder) {
    redraw();
    new ResizeObserver(() => {
      const box = holder.getBoundingClientRect();
      if (plot && Math.abs(box.width - plot.width) > 2) plot.setSize({ width: Math.floor(box.width), height: plot.height });
    }).observe(holder);
    dark.addEventListener("change", redraw);
  }
  if (series.live) follow();
  setInterval(age, 1000);
})();
