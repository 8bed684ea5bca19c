"use strict";

// Groups that are shown at once; more are found by their names.
const SHOWN = 200;
// Events that are kept.
const KEPT = 400;
// Without a word for so long, what is shown is old.
const STALE = 3000;
// And after so long it is asked for anew.
const SILENT = 15000;
// Round trips in a line.
const TRIPS = 60;

const $ = (id) => document.getElementById(id);
const state = { status: null, events: [], heard: 0, why: "", token: "", trips: new Map(), roles: new Map(), open: new Set() };

/** An element with attributes and children; text is only ever text. */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "onclick") made.addEventListener("click", value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

const pill = (text, kind = "", title) => el("span", { class: `pill ${kind}`, title }, text);

function millis(micros) {
  if (micros === null || micros === undefined) return "–";
  if (micros < 1000) return `${micros} µs`;
  return micros < 100000 ? `${(micros / 1000).toFixed(1)} ms` : span(micros / 1000);
}

function span(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 100000) return `${(ms / 1000).toFixed(1)} s`;
  const minutes = Math.floor(ms / 60000);
  return minutes < 120 ? `${minutes} min` : minutes < 2880 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} days`;
}

function clock(moment) {
  const at = new Date(moment);
  if (Number.isNaN(at.getTime())) return moment;
  const time = at.toLocaleTimeString([], { hour12: false }) + "." + String(at.getMilliseconds()).padStart(3, "0");
  return at.toDateString() === new Date().toDateString() ? time : `${at.toLocaleDateString()} ${time}`;
}

const when = (moment) => el("time", { datetime: moment, title: moment }, clock(moment));

// ---- what is told ----

let source;
let asked = 0;

function listen() {
  source?.close();
  source = new EventSource("/v1/stream");
  asked = performance.now();
  const on = (name, then) =>
    source.addEventListener(name, (event) => {
      state.heard = performance.now();
      if (name === "status" || name === "pulse") state.why = "";
      then(JSON.parse(event.data));
      age();
    });
  on("status", (status) => {
    state.status = status;
    sample();
    draw();
  });
  on("pulse", (pulse) => {
    if (!state.status) return;
    const groups = new Map(state.status.peers.map((peer) => [peer.node, peer.groups]));
    for (const peer of pulse.peers) peer.groups = groups.get(peer.node) ?? [];
    state.status = { ...pulse, groups: state.status.groups };
    sample();
    drawHead();
    drawAlerts();
    drawNodes();
    drawDaemon();
  });
  on("events", (events) => {
    const known = new Set(state.events.map((event) => event.seq));
    state.events = state.events.concat(events.filter((event) => !known.has(event.seq))).slice(-KEPT);
    drawEvents();
  });
  on("lost", (why) => {
    state.why = why;
  });
  // What is not answered as it should be, as by a proxy before a daemon that begins anew, a browser does not ask again.
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

function sample() {
  for (const peer of state.status.peers) {
    const trips = state.trips.get(peer.node) ?? [];
    trips.push(peer.rtt_us);
    state.trips.set(peer.node, trips.slice(-TRIPS));
  }
}

/** How old what is shown is. The page tells it by itself, for a daemon that is gone tells nothing. */
function age() {
  const old = performance.now() - state.heard;
  const stale = state.heard === 0 ? old > STALE : old > STALE || state.why !== "";
  const text = !stale
    ? state.heard === 0 ? "connecting" : "live"
    : state.why !== "" ? `the node does not answer: ${state.why}`
    : state.heard === 0 ? "no connection" : "no connection; what is shown is old";
  const live = $("live");
  // Said once; how old it is stands beside it.
  set(live, text);
  set($("age"), stale && state.heard !== 0 ? span(old) : "");
  live.className = `live ${stale ? "off" : "on"}`;
  document.body.classList.toggle("stale", stale);
}

// ---- what is shown ----

function draw() {
  drawHead();
  drawAlerts();
  drawGroups();
  drawNodes();
  drawDaemon();
}

const healthKind = { healthy: "good", fault: "bad", drained: "warn" };
const roleKind = { active: "good", standby: "", fault: "bad", drained: "warn", unknown: "none" };
const stateKind = { alive: "good", suspect: "warn", silent: "bad", left: "warn" };

function drawHead() {
  const { cluster, node, version, health } = state.status;
  document.title = `${health.state === "healthy" ? "" : `${health.state} – `}${cluster} on ${node} – vipdrift`;
  set($("cluster"), cluster);
  set($("viewpoint"), `as ${node} sees it · vipdrift ${version}`);
  set($("health"), health.state);
  $("health").className = `pill ${healthKind[health.state] ?? ""}`;
  $("health").title = health.reasons.join("\n");
  $("orders").hidden = false;
}

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Role of a peer in a group, as it last said. */
function said(peer, group) {
  return peer.groups.find((known) => known.name === group.name);
}

function drawAlerts() {
  const { status } = state;
  const alerts = [];
  const bad = (text) => alerts.push(["alert bad", text]);
  const warn = (text) => alerts.push(["alert", text]);
  if (status.health.state !== "healthy") {
    const reasons = status.health.reasons.join("; ");
    (status.health.state === "fault" ? bad : warn)(`${status.node} is ${status.health.state === "fault" ? "in fault" : "drained"}: ${reasons}`);
  }
  const some = (groups) => groups.slice(0, 5).join(", ") + (groups.length > 5 ? ` and ${groups.length - 5} more` : "");
  const nobody = status.groups.filter((group) => group.active_node === null).map((group) => group.name);
  if (nobody.length > 0) bad(`Nobody is known to be active for ${some(nobody)}.`);
  const twice = status.groups.filter((group) => {
    const heard = status.peers.filter((peer) => peer.state === "alive" && said(peer, group)?.role === "active");
    return heard.length + (group.role === "active" ? 1 : 0) > 1;
  });
  if (twice.length > 0) warn(`Two nodes are active for ${some(twice.map((group) => group.name))}; during a hitless switchover that is meant.`);
  for (const group of status.groups.filter((group) => group.occupied_by)) {
    bad(`${group.name}: ${group.occupied_by} answers for a VIP and is not its holder.`);
  }
  for (const peer of status.peers) {
    if (peer.state === "silent") warn(`${peer.node} is not heard.`);
    if (peer.state === "alive" && !peer.hears_us) warn(`${peer.node} is heard and does not hear ${status.node}.`);
    if (peer.config === "different") warn(`${peer.node} runs with another configuration: ${(peer.differs ?? []).join(", ") || "what differs is not known yet"}`);
  }
  const { daemon } = status;
  if (daemon.pace !== "kept" && daemon.pace !== "") warn(daemon.pace);
  const text = JSON.stringify(alerts);
  if ($("alerts").dataset.text === text) return;
  $("alerts").dataset.text = text;
  $("alerts").replaceChildren(...alerts.map(([kind, words]) => el("p", { class: kind }, words)));
}

function drawGroups() {
  const { status } = state;
  const nodes = [status.node, ...status.peers.map((peer) => peer.node)].sort();
  const peers = new Map(status.peers.map((peer) => [peer.node, peer]));
  const wanted = $("filter").value.trim().toLowerCase();
  const found = status.groups.filter(
    (group) => wanted === "" || group.name.toLowerCase().includes(wanted) || group.vips.some((vip) => vip.address.includes(wanted)),
  );
  const table = $("groups");
  table.tHead.replaceChildren(
    el("tr", {}, el("th", { scope: "col" }, "Group"), nodes.map((node) => el("th", { scope: "col" }, node)), el("th", { scope: "col" }, "Why")),
  );
  const focused = document.activeElement?.id;
  table.tBodies[0].replaceChildren(...found.slice(0, SHOWN).map((group) => row(group, nodes, peers)));
  if (focused) $(focused)?.focus();
  $("more").hidden = found.length <= SHOWN;
  set($("more"), `${found.length - SHOWN} more are found by their names.`);
}

function row(group, nodes, peers) {
  const { status } = state;
  const cell = (node) => {
    const peer = peers.get(node);
    const known = peer ? said(peer, group) : group;
    const there = !peer || peer.state === "alive" || peer.state === "suspect";
    let role = known && there ? known.role : "unknown";
    let text = role;
    if (known && there && known.claiming) text = "taking over";
    if (known && there && role === "standby" && known.demoted) text = "standby, demoted";
    if (!there) text = peer.state === "left" ? "left" : "not heard";
    const key = `${group.name} ${node}`;
    const changed = state.roles.has(key) && state.roles.get(key) !== text;
    state.roles.set(key, text);
    const title = known && !there ? `last said: ${known.role}` : undefined;
    const chip = pill(text, roleKind[role], title);
    if (changed) chip.classList.add("changed");
    return el("td", { "data-label": node }, chip);
  };
  const vips = group.vips.map((vip) => el("span", { class: "mono", title: `${vip.interface}${vip.mounted ? ", mounted here" : ""}` }, vip.address));
  const id = `group ${group.name}`;
  const checks = (group.checks ?? []).map((check) => {
    const took = check.took_us === null ? "" : ` (${millis(check.took_us)})`;
    const line = [pill(check.state, check.state === "passing" ? "good" : check.effect === "fault" ? "bad" : "warn"), ` ${check.name}: ${check.reason}${took}`];
    return el("div", {}, line, check.output ? el("pre", {}, check.output) : null);
  });
  const failing = (group.checks ?? []).filter((check) => check.state === "failing").length;
  const more = checks.length === 0 ? null : el("details", { open: state.open.has(id) },
    el("summary", { id }, `${checks.length} ${checks.length === 1 ? "check" : "checks"}${failing ? `, ${failing} failing` : ", all passing"}`),
    el("div", { class: "checks" }, checks));
  more?.addEventListener("toggle", () => (more.open ? state.open.add(id) : state.open.delete(id)));
  const order = state.token && group.active_node !== null
    ? el("button", { class: "small", type: "button", id: `move ${group.name}`, onclick: () => switchover(group) }, "Move") : null;
  return el("tr", {},
    el("th", { scope: "row" }, group.name, el("div", { class: "vips" }, vips)),
    nodes.map(cell),
    el("td", { class: "why" }, group.reason, el("small", {}, `term ${group.term}, ${status.node} ${group.role} since `, when(group.since)), more, order));
}

function drawNodes() {
  const { status } = state;
  const button = (node, health) => state.token
    ? el("button", { class: "small", type: "button", id: `drain ${node}`, onclick: () => drain(node, health !== "drained") }, health === "drained" ? "Undrain" : "Drain") : null;
  const health = (node, now, title) => el("span", {}, now ? pill(now, healthKind[now], title) : "–", " ", button(node, now));
  const own = ["this node", pill("here", "good"), "–", "–", "–", el("span", { class: "mono", title: "digest" }, status.daemon.config_digest)];
  const nodes = [
    { node: status.node, health: status.health.state, cells: own },
    ...status.peers.map((peer) => ({
      node: peer.node,
      health: peer.health,
      title: peer.state === "alive" ? undefined : "as it last said",
      cells: ["", pill(peer.state, stateKind[peer.state]), peer.hears_us ? "yes" : "no",
        el("span", {}, millis(peer.rtt_us), spark(state.trips.get(peer.node))),
        peer.heard_ms_ago === null ? "never" : `${span(peer.heard_ms_ago)} ago`,
        peer.config === "unknown" ? "–" : pill(peer.config, peer.config === "same" ? "" : "bad")],
    })),
  ];
  // Buttons stay as long as they mean the same: a click takes its time.
  const meaning = JSON.stringify(nodes.map(({ node, health: now, title }) => [node, now, title, state.token !== ""]));
  const body = $("nodes").tBodies[0];
  const labels = ["State", "Health", "Hears this node", "Round trip", "Last heard", "Configuration"];
  if (body.dataset.meaning !== meaning) {
    body.dataset.meaning = meaning;
    const focused = document.activeElement?.id;
    body.replaceChildren(...nodes.map(({ node, health: now, title, cells }) => el("tr", {},
      el("th", { scope: "row" }, node, " ", el("span", { class: "vips" }, cells[0])),
      labels.map((label) => el("td", { "data-label": label }, label === "Health" ? health(node, now, title) : "")))));
    if (focused) $(focused)?.focus();
  }
  nodes.forEach(({ cells: [, now, hears, trip, heard, config] }, row) => {
    const { cells } = body.rows[row];
    [[1, now], [3, hears], [4, trip], [5, heard], [6, config]].forEach(([at, shown]) => cells[at].replaceChildren(shown));
  });
}

/** The last round trips as a line. */
function spark(trips = []) {
  const known = trips.filter((trip) => trip !== null);
  if (known.length < 2) return null;
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", `0 0 ${TRIPS - 1} 20`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `between ${millis(Math.min(...known))} and ${millis(Math.max(...known))} in the last minute`);
  const most = Math.max(...known, 1);
  const line = document.createElementNS(space, "polyline");
  const points = trips.map((trip, at) => (trip === null ? null : `${at + TRIPS - trips.length},${(19 - (18 * trip) / most).toFixed(1)}`));
  line.setAttribute("points", points.filter((point) => point !== null).join(" "));
  line.setAttribute("fill", "none");
  line.setAttribute("stroke", "currentColor");
  line.setAttribute("vector-effect", "non-scaling-stroke");
  svg.append(line);
  return svg;
}

function drawEvents() {
  const notes = $("notes").checked;
  const shown = state.events.filter((event) => notes || event.kind !== "note").slice().reverse();
  const items = shown.map((event) => {
    const moved = event.from && event.to && event.from !== event.to;
    const chips = [
      event.kind === "warning" ? pill("warning", "warn") : null,
      moved ? pill(`${event.from} → ${event.to}`, roleKind[event.to]) : null,
      event.outage_us !== undefined ? pill(`outage ${millis(event.outage_us)}`, "", "from the last sign of the old holder, as seen from here") : null,
    ].filter(Boolean).flatMap((chip) => [chip, " "]);
    const head = [when(event.at), event.group ? el("span", { class: "group" }, event.group) : null, ...chips, event.reason];
    const id = `event ${event.seq}`;
    if (!event.evidence?.length) return el("li", {}, head);
    const more = el("details", { open: state.open.has(id) }, el("summary", { id }, head), el("ul", {}, event.evidence.map((line) => el("li", {}, line))));
    more.addEventListener("toggle", () => (more.open ? state.open.add(id) : state.open.delete(id)));
    return el("li", {}, more);
  });
  const focused = document.activeElement?.id;
  $("events").replaceChildren(...(items.length ? items : [el("li", {}, "Nothing yet.")]));
  if (focused) $(focused)?.focus();
}

function drawDaemon() {
  const { daemon, counters } = state.status;
  const late = daemon.lateness;
  const rejected = Object.entries(counters.datagrams_rejected).filter(([, count]) => count > 0).map(([reason, count]) => `${reason} ${count}`).join(", ");
  const lines = [
    ["Heartbeat lateness", `half within ${millis(late.p50_us)}, 99.9 % within ${millis(late.p999_us)}, worst ${millis(late.max_us)}`],
    ["Pace", daemon.pace],
    ["Real-time priority", daemon.real_time],
    ["Memory locked", daemon.memory_locked],
    ["System call filter", daemon.system_call_filter],
    ["Lease", daemon.lease],
    ["Brain", `process ${daemon.brain_pid}, user ${daemon.user}, started ${daemon.brain_starts} ${daemon.brain_starts === 1 ? "time" : "times"}`],
    ["Heartbeats", `${counters.heartbeats_sent} sent, ${counters.heartbeats_heard} heard`],
    ["Rejected", rejected || "none"],
    ["Occupancy", `${counters.probes_sent} questions, ${counters.probe_answers} answers, ${counters.conflicts} conflicts`],
  ];
  $("daemon").replaceChildren(...lines.map(([name, text]) => el("div", {}, el("dt", {}, name), el("dd", {}, text))));
}

// ---- orders ----

function ask(dialog) {
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok"), { once: true });
    dialog.returnValue = "cancel";
    dialog.showModal();
  });
}

async function confirmed(title, text, button, nodes = []) {
  set($("confirm-title"), title);
  set($("confirm-text"), text);
  set($("confirm-ok"), button);
  $("confirm-to").hidden = nodes.length === 0;
  $("confirm-node").replaceChildren(el("option", { value: "" }, "the next in order"), ...nodes.map((node) => el("option", { value: node }, node)));
  return ask($("confirm"));
}

async function order(path, body) {
  say("under way …");
  let words = "";
  let good = false;
  try {
    const headers = { "content-type": "application/json", authorization: `Bearer ${state.token}` };
    const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
    const said = await answer.json();
    good = answer.ok;
    words = said.done ?? said.error ?? "";
    if (answer.status === 401 || answer.status === 403) forget();
  } catch (error) {
    words = `no answer: ${error.message}`;
  }
  say(words, !good);
}

let quiet = 0;
function say(words, bad = false) {
  clearTimeout(quiet);
  $("answer").hidden = false;
  $("answer").className = bad ? "bad" : "";
  set($("answer"), words);
  quiet = setTimeout(() => ($("answer").hidden = true), bad ? 15000 : 6000);
}

async function switchover(group) {
  const { node, peers } = state.status;
  const others = [node, ...peers.filter((peer) => peer.state === "alive").map((peer) => peer.node)].filter((name) => name !== group.active_node).sort();
  const text = `${group.active_node} gives ${group.vips.map((vip) => vip.address).join(", ")} away.`;
  if (!(await confirmed(`Move ${group.name}?`, text, "Move it", others))) return;
  const to = $("confirm-node").value;
  await order("/v1/switchover", { group: group.name, ...(to ? { to } : {}) });
}

async function drain(node, away) {
  const text = away
    ? `${node} gives all that it holds to other nodes and takes nothing until it is undrained, over restarts too.`
    : `${node} may hold groups again.`;
  if (!(await confirmed(`${away ? "Drain" : "Undrain"} ${node}?`, text, away ? "Drain it" : "Undrain it"))) return;
  await order(away ? "/v1/drain" : "/v1/undrain", { node });
}

function forget() {
  state.token = "";
  set($("orders"), "Give orders");
  if (state.status) draw();
}

$("orders").addEventListener("click", async () => {
  if (state.token) return forget();
  const use = await ask($("token"));
  const text = $("token-text").value.trim();
  $("token-text").value = "";
  if (!use || text === "") return;
  state.token = text;
  set($("orders"), "No more orders");
  draw();
});
$("filter").addEventListener("input", () => state.status && drawGroups());
$("notes").addEventListener("change", drawEvents);
setInterval(() => {
  age();
  // A process that cannot end keeps its connections open and says nothing.
  if (performance.now() - Math.max(state.heard, asked) > SILENT) listen();
}, 500);
listen();
