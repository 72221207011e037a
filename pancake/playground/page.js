// The page: its fields and buttons, and what it hears from the server. It computes nothing of the net itself.
"use strict";

import { drawCurve, drawNet, drawPlane, short } from "/draw.js";

const token = document.querySelector('meta[name="token"]').content;
const at = (id) => document.getElementById(id);
const FIELDS = ["data", "points", "noise", "test", "seed", "across", "up", "layers", "activation", "dropout", "loss-name", "optimizer", "lr", "batch", "speed"];
const settingOf = (field) => field.dataset.setting ?? field.id;

let session = null, scene = null, frame = null, spoken = 0, waiting = false;

// --- the server ---

async function ask(what, body = {}) {
  let answer;
  try {
    const reply = await fetch(`/${what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Playground-Token": token },
      body: JSON.stringify(session === null ? body : { ...body, session }),
    });
    answer = await reply.json();
  } catch {
    answer = { error: "The playground does not answer. Has it been ended?" };
  }
  if (answer.error) tell(answer.error);
  return answer;
}

function tell(text) {
  at("message").textContent = text;
  at("message").hidden = !text;
}

// Nothing of a page without a training can be used.
function disable() {
  for (const control of document.querySelectorAll("#bar button, #settings fieldset, #make-step")) control.disabled = true;
  for (const link of document.querySelectorAll("#taken a")) link.removeAttribute("href");
}

async function begin() {
  const answer = await ask("open");
  if (answer.error) return disable();
  session = answer.session;
  const query = `?session=${encodeURIComponent(session)}`;
  at("net-file").href = `/net.npz${query}`;
  at("script-file").href = `/train.py${query}`;
  const events = new EventSource(`/events${query}`);
  events.addEventListener("scene", (event) => {
    scene = JSON.parse(event.data);
    showScene();
  });
  events.addEventListener("frame", (event) => {
    frame = JSON.parse(event.data);
    draw();
  });
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) {
      tell("The training of this tab has ended; load the page anew.");
      disable();
    } else tell("The playground does not answer. Has it been ended?");
  };
  events.onopen = () => tell("");
}

// --- what stays until a setting is changed ---

function options(select, values, names = values) {
  if (select.options.length === values.length && values.every((value, i) => select.options[i].value === String(value) && select.options[i].text === names[i])) return;
  select.replaceChildren(...values.map((value, i) => new Option(names[i], value)));
}

function showScene() {
  const { settings, choices, bounds, features, classes, label } = scene;
  for (const [name, values] of Object.entries(choices)) options(at(name === "loss" ? "loss-name" : name), values);
  if (scene.file !== null) options(at("data"), choices.data, choices.data.map((name, i) => (i ? name : scene.file))); // the first is the file
  for (const id of ["across", "up"]) options(at(id), features.map((_, i) => i), features);
  for (const id of FIELDS) {
    const field = at(id), name = settingOf(field);
    if (field.type === "range") {
      field.min = bounds[name][0];
      field.max = id === "noise" ? Math.max(0.6, settings.noise) : bounds[name][1];
    }
    field.value = settings[name];
    field.removeAttribute("aria-invalid");
    showValue(field);
  }
  const shown = { toy: !scene.is_file, many: features.length > 2, mlp: scene.own === null, own: scene.own !== null };
  for (const element of document.querySelectorAll("[data-for]")) element.hidden = !shown[element.dataset.for];
  at("own").textContent = `the stack of ${scene.own}:`;
  at("model").textContent = scene.model;
  const [train, test] = scene.counts, some = features.length > 12 ? [...features.slice(0, 12), `${features.length - 12} more`] : features;
  const what = classes ? `${label}, one of ${classes.length},` : label;
  at("about").textContent = `${scene.is_file ? scene.file : settings.data}: to tell ${what} by ${some.join(", ")}; ${train} points to train with, ${test} to test; ${scene.parameters} parameters`;
  legend();
  drawn();
  at("plane").setAttribute("aria-label", `The plane of ${features[scene.axes[0]]} and ${scene.single ? label : features[scene.axes[1]]}: what the net says, and the points`);
  tell("");
}

function entry(name, mark) {
  const made = document.createElement("span");
  made.append(mark, name);
  return made;
}

function dot(className, colour) {
  const made = document.createElement("i");
  made.className = className;
  if (colour) made.style.background = colour;
  return made;
}

function legend() {
  const entries = scene.classes ? scene.classes.map((name, c) => entry(name, dot("", scene.colors[c]))) : [];
  if (!scene.classes && !scene.single) {
    const ramp = document.createElement("span");
    ramp.className = "ramp";
    entries.push(`${scene.label}, from less`, ramp, "to more");
  }
  entries.push(entry("train", dot("plain")));
  if (scene.counts[1]) entries.push(entry("test", dot("plain test")));
  at("legend").replaceChildren(...entries);
}

function drawn() {
  const { features, axes, means, train, test, counts } = scene, text = [];
  const others = features.map((name, i) => [name, i]).filter(([, i]) => !axes.includes(i));
  if (others.length) {
    const fixed = others.slice(0, 8).map(([name, i]) => `${name} ${short(means[i])}`).join(", ");
    text.push(`Drawn are ${features[axes[0]]} and ${features[axes[1]]}; the others are at their mean: ${fixed}${others.length > 8 ? ` and ${others.length - 8} more` : ""}.`);
  }
  if (train.length + test.length < counts[0] + counts[1]) text.push(`Of the points ${train.length + test.length} are drawn.`);
  if (scene.is_file) text.push("The net gets each feature less its mean, divided by its standard deviation.");
  if (!scene.classes) text.push(`The loss is that of ${scene.label} less its mean, divided by its standard deviation.`);
  at("drawn").textContent = text.join(" ");
}

// --- what changes with each step ---

function draw() {
  if (waiting || scene === null || frame === null) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    const { values } = frame, percent = (score) => (frame.score === "accuracy" && score !== null ? `${(100 * score).toFixed(1)} %` : short(score));
    at("run").setAttribute("aria-pressed", String(frame.running));
    const seen = frame.running ? "Pause" : "Run"; // it is called Run always, pressed or not
    if (at("run").textContent !== seen) at("run").textContent = seen;
    at("loss").textContent = `loss ${values.loss === null ? "not finite" : values.loss.toPrecision(3)}`;
    at("test-loss").textContent = "test_loss" in values ? `test loss ${values.test_loss === null ? "not finite" : values.test_loss.toPrecision(3)}` : "";
    at("test-key").hidden = !("test_loss" in values);
    at("score").textContent = `${frame.score} ${percent(values.score)}${"test_score" in values ? `, test ${percent(values.test_score)}` : ""}`;
    at("epochs").textContent = `epoch ${frame.epochs.toFixed(frame.epochs < 100 ? 1 : 0)}, step ${frame.steps}`;
    if (frame.message) tell(`${frame.message}. Training is paused.`);
    drawPlane(at("plane"), scene, frame);
    at("net-key").textContent = drawNet(at("net"), scene, frame);
    drawCurve(at("curve"), frame);
    gradients();
    speak();
  });
}

function gradients() {
  const rows = frame.gradients.map(([name, norm]) => {
    const row = document.createElement("tr"), bar = document.createElement("div");
    bar.style.width = `${norm ? Math.max(0, Math.min(100, (100 * (Math.log10(norm) + 6)) / 8)) : 0}%`;
    const cells = [name, bar, short(norm)].map((content, i) => {
      const cell = document.createElement(i ? "td" : "th");
      cell.className = ["", "bar", "number"][i];
      cell.append(content);
      return cell;
    });
    cells[0].scope = "row";
    row.append(...cells);
    return row;
  });
  at("gradients").tBodies[0].replaceChildren(...rows);
  const dead = frame.dead.map((units, i) => [units.length, i + 1, frame.units[i + 1].count]).filter(([count]) => count);
  at("dead").textContent = dead.length
    ? dead.map(([count, layer, all]) => `Layer ${layer}: ${count} of ${all} units are dead`).join(". ") + ": they say the same to every point."
    : frame.dead.length ? "No unit is dead: each says different things to different points." : "";
  const [inputs, ...layers] = frame.units, text = [];
  if (inputs.count > 2) text.push("Blank inputs are those that stand at their mean.");
  if (inputs.count > inputs.pictures.length) text.push("Of the inputs the first are drawn, and the two of the plane.");
  if (layers.some((column) => column.count > column.pictures.length)) text.push("Of wide layers the first units are drawn.");
  at("hidden-units").textContent = text.join(" ");
}

// For those who listen: now and then, and whenever the training is paused.
function speak() {
  const now = performance.now();
  if (frame.running && now - spoken < 5000) return;
  spoken = now;
  const text = `epoch ${frame.epochs.toFixed(0)}, ${at("loss").textContent}, ${at("score").textContent}`;
  if (at("spoken").textContent !== text) at("spoken").textContent = text;
}

// --- fields and buttons ---

function showValue(field) {
  const output = document.querySelector(`output[for="${field.id}"]`);
  if (output) output.textContent = field.value;
}

async function change(field) {
  const answer = await ask("settings", { [settingOf(field)]: field.value });
  if (answer.error) field.setAttribute("aria-invalid", "true");
}

for (const id of FIELDS) {
  at(id).addEventListener("change", () => change(at(id)));
  at(id).addEventListener("input", () => showValue(at(id)));
}
at("settings").addEventListener("submit", (event) => event.preventDefault());

const widths = () => at("layers").value.split(/[\s,]+/).filter(Boolean);
at("more").addEventListener("click", () => setLayers([...widths(), widths().at(-1) ?? "8"]));
at("fewer").addEventListener("click", () => setLayers(widths().slice(0, -1)));
function setLayers(layers) {
  at("layers").value = layers.join(", ");
  change(at("layers"));
}

at("run").addEventListener("click", () => {
  tell(""); // before asking: a message of the very first step may arrive sooner than the answer
  ask("run", { on: !(frame && frame.running) });
});
at("step").addEventListener("click", () => ask("step"));
at("reset").addEventListener("click", () => ask("reset"));

async function explain() {
  const answer = await ask("explain");
  if (answer.error) return at("explanation").close();
  at("table").innerHTML = answer.html;
  if (!at("explanation").open) at("explanation").showModal();
}
at("explain").addEventListener("click", explain);
at("make-step").addEventListener("click", async () => (await ask("step")).error || explain());
at("close").addEventListener("click", () => at("explanation").close());

new ResizeObserver(draw).observe(document.querySelector("main"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
begin();
