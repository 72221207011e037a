// What is drawn: the plane with its points, the units with their weights, and the curve of the loss.
"use strict";

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
const mixed = (from, to, share) => from.map((a, c) => a + (to[c] - a) * share);
const bytes = (text, Kind) => new Kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);

export const short = (number) => {
  if (number === null || number === undefined) return "not finite";
  if (number !== 0 && (Math.abs(number) >= 1e5 || Math.abs(number) < 1e-3)) return number.toExponential(1);
  return String(Number(number.toPrecision(3)));
};

// A canvas as sharp as the screen, and a pen that counts in CSS pixels.
function sheet(canvas, height) {
  const width = canvas.clientWidth, ratio = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = `${height}px`;
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  pen.font = "12px system-ui, 'DejaVu Sans', sans-serif";
  return { pen, width, height };
}

// A small picture, row by row from above; colour(i) is that of pixel i, packed. The canvas of a place is used again.
const canvases = new Map();
function picture(place, across, down, colour) {
  let small = canvases.get(place);
  if (!small || small.width !== across || small.height !== down) {
    small = new OffscreenCanvas(across, down);
    canvases.set(place, small);
  }
  const data = new ImageData(across, down), pixels = new Uint32Array(data.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colour(i);
  small.getContext("2d").putImageData(data, 0, 0);
  return small;
}

const packed = (rgb) => new Uint32Array(Uint8ClampedArray.of(...rgb, 255).buffer)[0];

// From -127, blue, over the colour of the paper to 127, orange: colours, and the same packed, at 127 + value.
function diverging() {
  const [paper, less, more] = ["--paper", "--less", "--more"].map((name) => channels(style(name)));
  const colours = Array.from({ length: 255 }, (_, i) => mixed(paper, i < 127 ? less : more, Math.abs(i - 127) / 127));
  return { colours, table: Uint32Array.from(colours, packed) };
}

function ticks(low, high) {
  const raw = (high - low || 1) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((m) => m * power >= raw * 0.999);
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + 1e-9 * step; tick += step) found.push(Number(tick.toPrecision(6)));
  return found;
}

function fitted(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  while (text && pen.measureText(`${text}…`).width > width) text = text.slice(0, -1);
  return `${text}…`;
}

// --- the plane ---

export function drawPlane(canvas, scene, frame) {
  const across = canvas.clientWidth, { pen, height } = sheet(canvas, Math.min(across * 0.86, 460));
  const box = { left: 52, top: 6, width: across - 60, height: height - 48 };
  const [[x0, x1], [y0, y1]] = scene.limits, plane = frame.plane;
  const toX = (x) => box.left + ((x - x0) / (x1 - x0)) * box.width;
  const toY = (y) => box.top + (1 - (y - y0) / (y1 - y0)) * box.height;
  const paper = channels(style("--paper")), ink = style("--ink"), shade = diverging();
  pen.save();
  pen.beginPath();
  pen.rect(box.left, box.top, box.width, box.height);
  pen.clip();
  let small = null;
  if (plane.winner) {
    const winner = bytes(plane.winner, Uint8Array), sure = bytes(plane.sure, Uint8Array), colours = scene.colors.map(channels);
    const side = scene.single ? winner.length : Math.sqrt(winner.length);
    const tables = colours.map((rgb) => Uint32Array.from({ length: 256 }, (_, sure) => packed(mixed(paper, rgb, 0.12 + (0.5 * sure) / 255))));
    small = picture("plane", side, winner.length / side, (i) => tables[winner[i]][sure[i]]);
  } else if (plane.share) {
    const share = bytes(plane.share, Uint8Array), side = Math.sqrt(share.length);
    small = picture("plane", side, side, (i) => shade.table[Math.round(26 + 0.79 * share[i])]);
  }
  if (small) pen.drawImage(small, box.left, box.top, box.width, box.height);
  const colour = (label) => {
    if (scene.colors) return scene.colors[label];
    return `rgb(${shade.colours[scene.single ? 0 : Math.round((254 * (label - plane.low)) / (plane.high - plane.low))]})`;
  };
  const up = (point) => (scene.single ? point[2] : point[1]);
  const radius = scene.train.length > 250 ? 3.4 : 4.2;
  pen.lineWidth = 1;
  pen.strokeStyle = scene.colors || scene.single ? "rgb(255 255 255 / 85%)" : ink;
  for (const point of scene.train) {
    pen.beginPath();
    pen.arc(toX(point[0]), toY(up(point)), radius, 0, 2 * Math.PI);
    pen.fillStyle = colour(point[2]);
    pen.fill();
    pen.stroke();
  }
  pen.strokeStyle = ink;
  for (const point of scene.test) {
    const [x, y, r] = [toX(point[0]), toY(up(point)), radius * 1.25];
    pen.beginPath();
    pen.moveTo(x, y - r);
    for (const [dx, dy] of [[r, 0], [0, r], [-r, 0]]) pen.lineTo(x + dx, y + dy);
    pen.closePath();
    pen.fillStyle = colour(point[2]);
    pen.fill();
    pen.stroke();
  }
  if (plane.line) {
    pen.beginPath();
    plane.line.forEach((value, i) => pen.lineTo(box.left + ((i + 0.5) / plane.line.length) * box.width, toY(value)));
    pen.lineWidth = 3;
    pen.strokeStyle = style("--test");
    pen.stroke();
  }
  pen.restore();
  axes(pen, box, [x0, x1], [y0, y1], toX, toY, scene);
}

function axes(pen, box, [x0, x1], [y0, y1], toX, toY, scene) {
  const names = [scene.features[scene.axes[0]], scene.single ? scene.label : scene.features[scene.axes[1]]];
  const places = scene.single && scene.classes ? scene.classes.map((_, c) => c) : ticks(y0, y1);
  pen.strokeStyle = style("--line");
  pen.strokeRect(box.left + 0.5, box.top + 0.5, box.width - 1, box.height - 1);
  pen.fillStyle = style("--soft");
  pen.textAlign = "center";
  pen.textBaseline = "top";
  for (const tick of ticks(x0, x1)) pen.fillText(short(tick), toX(tick), box.top + box.height + 5);
  pen.fillText(fitted(pen, names[0], box.width), box.left + box.width / 2, box.top + box.height + 23);
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const tick of places) pen.fillText(scene.single && scene.classes ? fitted(pen, scene.classes[tick], 32) : short(tick), box.left - 5, toY(tick));
  pen.save();
  pen.translate(9, box.top + box.height / 2);
  pen.rotate(-Math.PI / 2);
  pen.textAlign = "center";
  pen.fillText(fitted(pen, names[1], box.height), 0, 0);
  pen.restore();
}

// --- the units ---

// Names as there is room for them; numbers, and a key to these, where the shortened names could not be told apart.
function labels(pen, names, room, kind) {
  const short = names.map((name) => fitted(pen, name, room));
  if (new Set(short).size === names.length) return { short, key: "" };
  return { short: names.map((_, i) => String(i + 1)), key: `${kind}: ${names.map((name, i) => `${i + 1} ${name}`).join(", ")}.` };
}

// Draws, and returns the key to what is drawn as a number.
export function drawNet(canvas, scene, frame) {
  const columns = frame.units, n = columns.length - 1, most = Math.max(...columns.map((column) => column.pictures.length));
  const across = canvas.clientWidth, pitch = across / columns.length;
  const beside = pitch > 150; // there is room for names beside the squares; else they stand below
  const side = Math.max(12, Math.min(40, pitch * 0.5)), gap = beside ? Math.max(4, side / 5) : 17;
  const partly = (column) => column.count > column.pictures.length;
  const head = !beside && columns.some(partly) ? 39 : 24;
  const { pen, height } = sheet(canvas, head + most * (side + gap) + 4);
  const left = (c) => pitch * (c + 0.5) - side / 2;
  const top = (c, u) => head + ((most - columns[c].pictures.length) / 2 + u) * (side + gap) + gap / 2;
  frame.weights.forEach((matrix, c) => matrix && weights(pen, matrix, (u) => [left(c) + side, top(c, u) + side / 2], (u) => [left(c + 1), top(c + 1, u) + side / 2]));
  const shade = diverging(), ink = style("--soft"), bad = style("--bad"), line = style("--line"), paper = style("--paper");
  const room = beside ? pitch / 2 - side / 2 - 10 : pitch - 4;
  const drawn = (names, column) => names.slice(0, column.pictures.length);
  const inputs = labels(pen, frame.inputs.map((i) => scene.features[i]), room, "Inputs");
  const outputs = labels(pen, scene.classes ? drawn(scene.classes, columns[n]) : [], room, "Outputs");
  pen.imageSmoothingEnabled = true;
  columns.forEach((column, c) => {
    pen.fillStyle = ink;
    pen.textAlign = "center";
    pen.textBaseline = "top";
    const title = pitch > 70 ? frame.titles[c] : c === 0 ? "in" : c === n ? "out" : String(c);
    const share = `${column.pictures.length}${pitch > 70 ? " of " : "/"}${column.count}`;
    pen.fillText(partly(column) && beside ? `${title} (${share})` : title, pitch * (c + 0.5), 3);
    if (partly(column) && !beside) pen.fillText(share, pitch * (c + 0.5), 18);
    column.pictures.forEach((text, u) => {
      const values = bytes(text, Int8Array), w = scene.single ? values.length : Math.sqrt(values.length);
      pen.drawImage(picture(`${c} ${u}`, w, values.length / w, (i) => shade.table[127 + values[i]]), left(c), top(c, u), side, side);
      const dead = c > 0 && c < n && frame.dead[c - 1].includes(u);
      pen.strokeStyle = dead ? bad : line;
      pen.lineWidth = dead ? 2 : 1;
      pen.strokeRect(left(c), top(c, u), side, side);
      const name = c === 0 ? inputs.short[u] : c === n ? outputs.short[u] : "";
      if (!name) return;
      pen.textAlign = !beside ? "center" : c === 0 ? "right" : "left";
      pen.textBaseline = beside ? "middle" : "top";
      const [x, y] = beside ? [c === 0 ? left(c) - 6 : left(c) + side + 6, top(c, u) + side / 2] : [pitch * (c + 0.5), top(c, u) + side + 2];
      pen.strokeStyle = paper; // so that lines do not cross it out
      pen.lineWidth = 3;
      pen.strokeText(name, x, y);
      pen.fillText(name, x, y);
    });
  });
  return [inputs.key, outputs.key].filter(Boolean).join(" ");
}

function weights(pen, matrix, from, to) {
  const largest = Math.max(1e-12, ...matrix.flat().map((w) => Math.abs(w ?? 0)));
  const colours = [style("--less"), style("--more")];
  matrix.forEach((row, u) => row.forEach((weight, v) => {
    const share = Math.abs(weight ?? 0) / largest, [x0, y0] = from(v), [x1, y1] = to(u), middle = (x0 + x1) / 2;
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.bezierCurveTo(middle, y0, middle, y1, x1, y1);
    pen.strokeStyle = colours[weight < 0 ? 0 : 1];
    pen.globalAlpha = 0.15 + 0.75 * share;
    pen.lineWidth = 0.4 + 4 * share;
    pen.stroke();
  }));
  pen.globalAlpha = 1;
}

// --- the curve ---

export function drawCurve(canvas, frame) {
  const across = canvas.clientWidth, { pen, height } = sheet(canvas, window.innerWidth > 640 ? 236 : 190);
  const box = { left: 46, top: 8, width: across - 52, height: height - 46 };
  const { epoch = [], loss = [], test_loss = [] } = frame.curve;
  const values = [...loss, ...test_loss].filter((value) => value !== null);
  const high = Math.max(1e-9, ...values) * 1.04, last = Math.max(1, epoch.at(-1) ?? 0);
  const toX = (x) => box.left + (x / last) * box.width, toY = (y) => box.top + (1 - y / high) * box.height;
  pen.fillStyle = style("--soft");
  pen.strokeStyle = style("--line");
  pen.textAlign = "right";
  pen.textBaseline = "middle";
  for (const tick of ticks(0, high)) {
    pen.fillText(short(tick), box.left - 6, toY(tick));
    pen.beginPath();
    pen.moveTo(box.left, Math.round(toY(tick)) + 0.5);
    pen.lineTo(box.left + box.width, Math.round(toY(tick)) + 0.5);
    pen.stroke();
  }
  pen.textBaseline = "top";
  for (const tick of ticks(0, last)) {
    pen.textAlign = toX(tick) > box.left + box.width - 12 ? "right" : "center";
    pen.fillText(short(tick), toX(tick), box.top + box.height + 5);
  }
  pen.textAlign = "center";
  pen.fillText("epoch", box.left + box.width / 2, box.top + box.height + 21);
  for (const [column, colour, dashes] of [[loss, style("--strong"), []], [test_loss, style("--test"), [6, 4]]]) {
    pen.beginPath();
    column.forEach((value, i) => value !== null && pen.lineTo(toX(epoch[i]), toY(value)));
    pen.setLineDash(dashes);
    pen.lineWidth = 2;
    pen.strokeStyle = colour;
    pen.stroke();
  }
  pen.setLineDash([]);
}
