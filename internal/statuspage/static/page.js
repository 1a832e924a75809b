"use strict";
// The page asks its own server for the cluster's picture once a second while somebody sees it, and shows it.

const byId = id => document.getElementById(id);

const bad = new Set(["equivocation", "bad new view", "bad proposal", "diverging checkpoint", "state differs from stable checkpoint", "link lost", "bad log record"]);
const kind = m => bad.has(m.event) ? "bad" : ["view change", "bad choice", "in doubt", "fetching state", "undone"].includes(m.event) ? "warn" : "";

function list(ids) {
  return ids.length > 1 ? `${ids.slice(0, -1).join(", ")} and ${ids.at(-1)}` : String(ids[0]);
}

function describe(m) {
  const by = m.by && m.by.length ? `replica${m.by.length > 1 ? "s" : ""} ${list([...m.by].sort())}` : "nobody";
  const times = m.count > 1 ? ` (${m.count} times)` : "";
  switch (m.event) {
    case "view change": return `${by} left for view ${m.view}: ${m.reason}${times}`;
    case "new view": return `view ${m.view} began, replica ${m.about} leads (says ${by})`;
    case "link lost": return `${by} lost the link to replica ${m.about}`;
    case "link back": return `${by} ${m.by.length > 1 ? "have" : "has"} a link to replica ${m.about} again`;
    default: return `${m.event}${m.about >= 0 ? ` by replica ${m.about}` : ""}, says ${by}${times}`;
  }
}

function showReplicas(picture) {
  const body = byId("replicas");
  body.replaceChildren();
  for (const r of picture.replicas) {
    const s = r.status, row = el(body, "tr", { class: `${r.role} ${r.up ? "up" : "down"}`, "data-replica": r.id });
    el(row, "td", {}, String(r.id));
    el(row, "td", { class: "role" }, r.role);
    el(el(row, "td"), "span", { class: `health ${r.health.replace(/ /g, "-")}`, title: r.error || "" }, r.health);
    if (!r.up) {
      el(row, "td", { colspan: 8 }, r.error || "no answer");
      continue;
    }
    el(row, "td", { class: "number view" }, `${s.view}${s.active ? "" : " (not begun)"}`);
    el(row, "td", { class: "number" }, String(s.committed));
    el(row, "td", { class: "number" }, String(s.stable));
    el(el(row, "td"), "code", { title: `at the checkpoint: ${s.stable_root}, now: ${s.root}` }, s.fetching ? "being fetched" : (s.stable_root || "none yet").slice(0, 16));
    el(row, "td", {}, r.rejoin);
    el(row, "td", { title: r.disk || "" }, s.disk ? `${(s.disk.bytes / 2 ** 20).toFixed(1)} MiB, sync ${s.disk.sync_ms.toFixed(1)} ms` : "memory only");
    el(row, "td", {}, (s.linked || []).join(" ") || "nobody");
    const suspicions = s.suspicions || [];
    el(row, "td", {}, suspicions.length ? suspicions.map(x => `${x.replica}: ${x.what.replace(/_/g, " ")} ×${x.count}`).join(", ") : "nobody");
  }
}

function showTimeline(picture) {
  const moments = picture.timeline || [], ol = byId("timeline");
  ol.replaceChildren();
  drawStrip(picture.at_ms, moments, kind);
  for (const m of moments) {
    const li = el(ol, "li", { class: kind(m) });
    el(li, "time", {}, new Date(m.at_ms).toLocaleTimeString());
    li.append(describe(m));
  }
  if (!moments.length) el(ol, "li", {}, "nothing out of the ordinary");
}

// median of what the replicas say of a second is a number that no f liars can move at will; seconds are told apart by their end.
function median(replicas, value) {
  const seconds = new Map();
  for (const r of replicas) {
    for (const s of r.load || []) {
      const at = Math.round(s.at_ms / 1000) * 1000;
      if (!seconds.has(at)) seconds.set(at, []);
      seconds.get(at).push(value(s));
    }
  }
  return [...seconds].sort((a, b) => a[0] - b[0]).map(([at, v]) => [at, v.sort((a, b) => a - b)[Math.floor(v.length / 2)]]);
}

function showLoad(picture) {
  const now = picture.at_ms, up = picture.replicas.filter(r => r.up);
  drawChart("throughput", now, [median(up, s => s.executed), median(up, s => s.queried)]);
  drawChart("latency", now, [median(up, s => s.commit_us / 1e3)]);
  const calls = picture.calls || [];
  for (const id of ["calls-figure", "times-figure"]) byId(id).hidden = !calls.length;
  if (calls.length) {
    drawChart("calls", now, [calls.map(s => [s.at_ms, s.calls])]);
    drawChart("times", now, [calls.map(s => [s.at_ms, s.mean_us / 1e3]), calls.map(s => [s.at_ms, s.max_us / 1e3])]);
  }
}

function show(picture) {
  byId("verdict").textContent = `${picture.verdict} View ${picture.view}, primary: replica ${picture.primary}.`;
  byId("verdict").className = picture.health;
  byId("server").textContent = picture.server;
  byId("asof").textContent = new Date(picture.at_ms).toLocaleString();
  document.title = `bfsd: ${picture.health}`;
  showReplicas(picture);
  drawFlow(picture);
  showLoad(picture);
  showTimeline(picture);
}

async function look() {
  try {
    const answer = await fetch("api/cluster", { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    show(await answer.json());
  } catch (e) {
    byId("verdict").textContent = `The process that serves this page does not answer (${e.message}). What is below is old.`;
    byId("verdict").className = "lost";
  }
}

async function watch() {
  for (;;) {
    if (!document.hidden) await look();
    await new Promise(again => setTimeout(again, 1000));
  }
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
watch();
