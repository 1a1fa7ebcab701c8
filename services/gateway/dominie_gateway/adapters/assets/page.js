// The live page: follows /events, puts each changed part in its place, and filters what is shown.
"use strict";

const MAX_ROWS = 600;
const runs = document.getElementById("runs");
const filter = document.getElementById("filter");
const connection = document.getElementById("connection");
const pause = document.getElementById("pause");
let position = Number(document.body.dataset.position);
let source = null;

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

function localise(root) {
  for (const time of root.querySelectorAll("time")) {
    const at = new Date(time.dateTime);
    const ms = time.dataset.to === "ms" ? "." + String(at.getMilliseconds()).padStart(3, "0") : "";
    time.textContent = clock.format(at) + ms;
    time.title = at.toLocaleString();
  }
}

function put(part) {
  const standing = document.getElementById(part.id);
  if (part.matches(".run")) return putRun(part, standing);
  if (part.matches(".row")) return putRow(part, standing);
  standing.replaceWith(part);
}

function putRun(run, standing) {
  if (!standing) {
    run.classList.add("fresh");
    return run.matches(".house") ? runs.append(run) : runs.insertBefore(run, runs.querySelector(".run"));
  }
  run.querySelector("ol").replaceWith(standing.querySelector("ol"));
  standing.replaceWith(run);
}

function putRow(row, standing) {
  row.classList.add("fresh");
  if (!standing) return document.querySelector("#" + row.dataset.run + " > ol").append(row);
  const focused = standing.contains(document.activeElement);
  row.firstElementChild.open = standing.firstElementChild.open;
  standing.replaceWith(row);
  if (focused) row.querySelector("summary").focus();
}

function forget() {
  const old = runs.querySelectorAll(".run:not(.house)");
  for (let last = old.length - 1; last > 0 && runs.querySelectorAll(".row").length > MAX_ROWS; last--) old[last].remove();
}

function sift() {
  const words = filter.elements.words.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  const decision = filter.elements.decision.value;
  let shown = 0;
  for (const run of runs.querySelectorAll(".run")) {
    const fits = words.every((word) => run.dataset.words.includes(word));
    let rows = 0;
    for (const row of run.querySelectorAll(".row")) {
      row.hidden = decision !== "" && row.dataset.decision !== decision;
      if (!row.hidden) rows++;
    }
    run.hidden = !fits || rows === 0;
    if (!run.hidden) shown++;
  }
  runs.querySelector(".nothing").hidden = shown > 0 || !runs.querySelector(".run");
}

function say(state, words) {
  document.body.dataset.connection = state;
  connection.textContent = words;
}

function take(message) {
  const template = document.createElement("template");
  template.innerHTML = message.data;
  localise(template.content);
  for (const part of [...template.content.children]) put(part);
  position = Number(message.lastEventId);
  forget();
  sift();
}

function follow() {
  source = new EventSource("events?after=" + position);
  source.onopen = () => say("live", "live");
  source.onerror = () => (refused() ? leave() : say("away", "reconnecting"));
  source.addEventListener("over", leave);
  source.onmessage = take;
}

function refused() {
  return source.readyState === EventSource.CLOSED && document.querySelector(".who") !== null;
}

function leave() {
  source.close();
  location.replace("login?ask");
}

function toggle() {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", String(paused));
  pause.textContent = paused ? "Resume" : "Pause";
  if (!paused) return follow();
  source.close();
  say("paused", "paused");
}

const asked = new URLSearchParams(location.search);
filter.elements.words.value = asked.get("run") || asked.get("agent") || asked.get("words") || "";
filter.elements.decision.value = ["allow", "ask", "deny"].includes(asked.get("decision")) ? asked.get("decision") : "";
filter.hidden = false;
filter.addEventListener("input", sift);
filter.addEventListener("submit", (event) => event.preventDefault());
pause.addEventListener("click", toggle);
localise(document);
sift();
say("away", "connecting");
follow();
