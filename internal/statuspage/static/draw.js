"use strict";
// Drawing: elements are made by name and text is set as text, so that nothing a replica says can be markup.

const SVG = "http://www.w3.org/2000/svg";

function el(parent, name, attributes = {}, text) {
  const e = parent instanceof SVGElement ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  if (text !== undefined) e.textContent = text;
  parent.append(e);
  return e;
}

function canvas(id) {
  const svg = document.getElementById(id);
  svg.replaceChildren();
  const { width, height } = svg.getBoundingClientRect();
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  return { svg, width, height };
}

const duration = us => us >= 1e4 ? `${(us / 1e3).toFixed(1)} ms` : us >= 1e3 ? `${(us / 1e3).toFixed(2)} ms` : `${Math.round(us)} µs`;

// drawFlow draws a request as the paper's figure 1 does: a lane for the client and one for each replica, an arrow for each
// message. Messages stand in the order in which they were sent and received, equally far apart; the times are below.
function drawFlow(picture) {
  const { svg, width, height } = canvas("flow");
  const about = document.getElementById("flow-about");
  const r = picture.request;
  const lanes = [-1, ...picture.replicas.map(x => x.id)];
  const top = 34, bottom = height - 28, left = 134, right = width - 50;
  const y = id => top + (bottom - top) * lanes.indexOf(id) / (lanes.length - 1);
  for (const id of lanes) {
    const gone = id >= 0 && !picture.replicas[id].up;
    el(svg, "line", { x1: left - 10, x2: right + 40, y1: y(id), y2: y(id), class: gone ? "lane down" : "lane" });
    const role = id >= 0 && r && id === r.primary ? " (primary)" : gone ? " ✗" : "";
    el(svg, "text", { x: 10, y: y(id) + 4 }, id < 0 ? "client" : `replica ${id}${role}`);
  }
  if (!r) {
    about.textContent = "none was seen in the last seconds";
    el(svg, "text", { x: left + 20, y: top - 14, class: "dim" }, "waiting for a request that changes something …");
    return;
  }
  const ended = Math.max(...r.messages.map(m => Math.max(m.sent, m.received)));
  about.textContent = `batch ${r.seq} of view ${r.view}, ${r.requests} request${r.requests === 1 ? "" : "s"}, client ${r.client}; ${duration(ended)} in all`;
  // The client's own ends are not known: it is drawn one place before and after.
  const times = [...new Set(r.messages.flatMap(m => m.received < 0 ? [m.sent] : [m.sent, m.received]))].sort((a, b) => a - b);
  const x = t => {
    let i = times.indexOf(t);
    if (i < 0) i = times.findIndex(u => u > t);
    return left + 40 + (right - left - 80) * (i < 0 ? times.length : i) / Math.max(1, times.length - 1);
  };
  const defs = el(svg, "defs");
  const head = el(defs, "marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 6, markerHeight: 6, orient: "auto" });
  el(head, "path", { d: "M0 0L8 4L0 8z", fill: "context-stroke" });
  const phases = {};
  for (const m of r.messages) {
    const lost = m.received < 0;
    let x1 = x(m.sent), x2 = lost ? x1 + 24 : x(m.received);
    if (m.from < 0) x1 -= 30;
    if (m.to < 0) x2 += 30;
    const y1 = y(m.from), y2 = lost ? y1 + (y(m.to) - y1) * .3 : y(m.to);
    const line = el(svg, "line", { x1, x2, y1, y2, class: lost ? `${m.what} lost` : m.what, "marker-end": "url(#head)" });
    const who = id => id < 0 ? "the client" : `replica ${id}`;
    el(line, "title", {}, `${m.what}: ${who(m.from)} to ${who(m.to)}, sent at ${duration(m.sent)}${lost ? ", not seen to arrive" : `, there at ${duration(m.received)}`}`);
    const p = phases[m.what] ||= { from: Infinity, to: 0 };
    p.from = Math.min(p.from, x1);
    p.to = Math.max(p.to, x2);
  }
  for (const s of r.executed || []) {
    el(el(svg, "circle", { cx: x(s.at), cy: y(s.replica), r: 3, class: "executed" }), "title", {}, `replica ${s.replica} executed it at ${duration(s.at)}`);
  }
  let row = 0;
  for (const [what, p] of Object.entries(phases).sort((a, b) => a[1].from - b[1].from)) {
    const at = 10 + 10 * (row++ % 2);
    el(svg, "text", { x: p.from, y: at, class: "dim" }, what);
  }
  for (const i of [0, Math.floor(times.length / 3), Math.floor(2 * times.length / 3), times.length - 1]) {
    if (times[i] !== undefined) el(svg, "text", { x: x(times[i]) - 12, y: height - 8, class: "dim" }, duration(times[i]));
  }
}

// drawChart draws up to two series over the last two minutes; a series is a list of [time in ms, value].
function drawChart(id, now, series) {
  const { svg, width, height } = canvas(id);
  const left = 46, bottom = height - 16, span = 120e3;
  const top = Math.max(1e-9, ...series.flat().map(p => p[1]));
  const nice = 10 ** Math.floor(Math.log10(top)), most = [1, 2, 5, 10].map(k => k * nice).find(k => k >= top) || 10 * nice;
  const x = t => left + (width - left - 8) * (1 - (now - t) / span), y = v => bottom - (bottom - 8) * v / most;
  for (const part of [0, .5, 1]) {
    el(svg, "line", { x1: left, x2: width - 8, y1: y(part * most), y2: y(part * most), class: "grid" });
    el(svg, "text", { x: 4, y: y(part * most) + 4, class: "dim" }, String(+(part * most).toPrecision(3)));
  }
  el(svg, "text", { x: left, y: height - 3, class: "dim" }, "2 min ago");
  el(svg, "text", { x: width - 30, y: height - 3, class: "dim" }, "now");
  series.forEach((points, i) => {
    const shown = points.filter(p => p[0] > now - span && p[0] <= now + 2000);
    if (shown.length) el(svg, "polyline", { points: shown.map(p => `${x(p[0])},${y(p[1])}`).join(" "), class: i ? "line-b" : "line-a" });
  });
}

// drawStrip marks the moments of the last two minutes.
function drawStrip(now, moments, kind) {
  const { svg, width, height } = canvas("strip");
  const left = 46, span = 120e3;
  el(svg, "line", { x1: left, x2: width - 8, y1: height / 2, y2: height / 2, class: "grid" });
  el(svg, "text", { x: left, y: height - 2, class: "dim" }, "2 min ago");
  el(svg, "text", { x: width - 30, y: height - 2, class: "dim" }, "now");
  for (const m of moments) {
    if (m.at_ms < now - span) continue;
    const at = left + (width - left - 8) * (1 - (now - m.at_ms) / span);
    el(el(svg, "circle", { cx: at, cy: height / 2, r: 5, class: `mark ${kind(m)}` }), "title", {}, describe(m));
  }
}
