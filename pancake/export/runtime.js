// What the modules that `to_js` writes are made of: each gets those of these functions that it uses.
// A tensor is {shape, data}: numbers in row order. Formulas are those of the Functions of the same names.

function tensor(shape, data) {
  return { shape, data: data ?? new Float64Array(size(shape)) };
}

function size(shape) {
  return shape.reduce((a, b) => a * b, 1);
}

function axisOf(axis, x) {
  return axis < 0 ? axis + x.shape.length : axis;
}

// An array of numbers, nested or flat, as a tensor of a shape in which one length may be -1.
function input(x, shape) {
  const flat = typeof x === "number" ? [x] : Array.from(x).flat(Infinity);
  const known = size(shape.filter((n) => n !== -1));
  const fits = shape.includes(-1) ? flat.length > 0 && flat.length % known === 0 : flat.length === known;
  if (!fits || !flat.every((number) => typeof number === "number")) {
    const wanted = shape.includes(-1) ? `a multiple of ${known}` : `${known}`;
    throw new Error(`predict: expected ${wanted} numbers, one example of shape [${shape.slice(1)}], got ${flat.length} entries`);
  }
  return tensor(shape.map((n) => (n === -1 ? flat.length / known : n)), Float64Array.from(flat));
}

function map(x, f) {
  return tensor(x.shape, x.data.map(f));
}

// f of two tensors whose shapes broadcast as NumPy's do.
function pairs(a, b, f) {
  const length = Math.max(a.shape.length, b.shape.length);
  const wide = (s) => [...Array(length - s.length).fill(1), ...s];
  const [left, right] = [wide(a.shape), wide(b.shape)];
  const y = tensor(left.map((n, i) => (n === 1 ? right[i] : n)));
  const places = (shape) => {
    let step = 1;
    const steps = shape.map(() => 0);
    for (let i = length - 1; i >= 0; i--) {
      steps[i] = shape[i] === 1 ? 0 : step;
      step *= shape[i];
    }
    return steps;
  };
  const [leftSteps, rightSteps] = [places(left), places(right)];
  for (let k = 0; k < y.data.length; k++) {
    let [rest, i, j] = [k, 0, 0];
    for (let axis = length - 1; axis >= 0; axis--) {
      const index = rest % y.shape[axis];
      rest = (rest - index) / y.shape[axis];
      i += index * leftSteps[axis];
      j += index * rightSteps[axis];
    }
    y.data[k] = f(a.data[i], b.data[j]);
  }
  return y;
}

function add(...xs) {
  return xs.reduce((a, b) => pairs(a, b, (p, q) => p + q));
}

function multiply(...xs) {
  return xs.reduce((a, b) => pairs(a, b, (p, q) => p * q));
}

function subtract(a, b) {
  return pairs(a, b, (p, q) => p - q);
}

function linear(x, weight, bias) {
  const [outputs, inputs] = weight.shape;
  const y = tensor([...x.shape.slice(0, -1), outputs]);
  for (let n = 0; n < x.data.length / inputs; n++) {
    for (let o = 0; o < outputs; o++) {
      let sum = 0;
      for (let i = 0; i < inputs; i++) sum += x.data[n * inputs + i] * weight.data[o * inputs + i];
      y.data[n * outputs + o] = bias === null ? sum : sum + bias.data[o];
    }
  }
  return y;
}

function embedding(x, weight) {
  const [rows, width] = weight.shape;
  const y = tensor([...x.shape, width]);
  x.data.forEach((index, n) => {
    if (!(index >= 0 && index < rows && Number.isInteger(index))) {
      throw new Error(`predict: expected indices from 0 to ${rows - 1}, got ${index}`);
    }
    for (let i = 0; i < width; i++) y.data[n * width + i] = weight.data[index * width + i];
  });
  return y;
}

function sigmoid(x) {
  const e = Math.exp(Math.min(x, 709));
  return e / (1 + e);
}

function softplus(x) {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

function mish(x) {
  const e = Math.exp(Math.min(x, 354));
  return x * ((e * (e + 2)) / (e * (e + 2) + 2));
}

// x times the probability that a standard normal number is less than x: Hart (1968), approximation 5666, as in West (2005).
function gelu(x) {
  const horner = (coefficients, at) => coefficients.reduce((sum, c) => sum * at + c, 0);
  const a = Math.min(Math.abs(x), 40);
  const above = [3.52624965998911e-2, 0.700383064443688, 6.37396220353165, 33.912866078383, 112.079291497871, 221.213596169931, 220.206867912376];
  const below = [8.83883476483184e-2, 1.75566716318264, 16.064177579207, 86.7807322029461, 296.564248779674, 637.333633378831, 793.826512519948, 440.413735824752];
  const tail = (Math.exp((-a * a) / 2) * horner(above, a)) / horner(below, a);
  return x * (x > 0 ? 1 - tail : tail);
}

function geluTanh(x) {
  return x * sigmoid(2 * Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x));
}

function elu(x, alpha) {
  return x > 0 ? x : alpha * Math.expm1(x);
}

function prelu(x, slopes) {
  return pairs(x, slopes, (a, s) => (a > 0 ? a : s * a));
}

// f for the numbers along one axis, which it changes in place.
function along(x, axis, f) {
  axis = axisOf(axis, x);
  const y = tensor(x.shape, x.data.slice());
  const [length, step] = [x.shape[axis], size(x.shape.slice(axis + 1))];
  const line = new Float64Array(length);
  for (let start = 0; start < y.data.length; start++) {
    if (Math.floor(start / step) % length !== 0) continue;
    for (let i = 0; i < length; i++) line[i] = y.data[start + i * step];
    f(line);
    for (let i = 0; i < length; i++) y.data[start + i * step] = line[i];
  }
  return y;
}

function softmax(x, axis) {
  return along(x, axis, (line) => {
    const largest = line.reduce((a, b) => Math.max(a, b));
    let sum = 0;
    for (let i = 0; i < line.length; i++) sum += line[i] = Math.exp(line[i] - largest);
    for (let i = 0; i < line.length; i++) line[i] /= sum;
  });
}

function logSoftmax(x, axis) {
  return along(x, axis, (line) => {
    const largest = line.reduce((a, b) => Math.max(a, b));
    let sum = 0;
    for (const number of line) sum += Math.exp(number - largest);
    const log = largest + Math.log(sum);
    for (let i = 0; i < line.length; i++) line[i] -= log;
  });
}

function batchNorm(x, weight, bias, mean, deviation) {
  const C = mean.data.length;
  return map(x, (number, n) => (weight.data[n % C] * (number - mean.data[n % C])) / deviation.data[n % C] + bias.data[n % C]);
}

function layerNorm(x, weight, bias, eps) {
  return along(x, -1, (line) => {
    const average = () => line.reduce((a, b) => a + b, 0) / line.length;
    for (let pass = 0; pass < 2; pass++) {
      const mean = average();
      line.forEach((number, i) => (line[i] = number - mean));
    }
    const deviation = Math.sqrt(line.reduce((a, b) => a + b * b, 0) / line.length + eps);
    line.forEach((number, i) => (line[i] = (weight.data[i] * number) / deviation + bias.data[i]));
  });
}

function transpose(x, axes) {
  axes = axes.map((axis) => axisOf(axis, x));
  const y = tensor(axes.map((axis) => x.shape[axis]));
  const steps = x.shape.map((_, axis) => size(x.shape.slice(axis + 1)));
  for (let k = 0; k < y.data.length; k++) {
    let [rest, place] = [k, 0];
    for (let axis = axes.length - 1; axis >= 0; axis--) {
      const index = rest % y.shape[axis];
      rest = (rest - index) / y.shape[axis];
      place += index * steps[axes[axis]];
    }
    y.data[k] = x.data[place];
  }
  return y;
}

function reshape(x, shape) {
  const known = size(shape.filter((n) => n !== -1));
  return tensor(shape.map((n) => (n === -1 ? x.data.length / known : n)), x.data);
}

function flatten(x) {
  return reshape(x, [x.shape[0], size(x.shape.slice(1))]);
}

function expand(x, axis, copies) {
  axis = axis < 0 ? axis + x.shape.length + 1 : axis;
  const wide = reshape(x, [...x.shape.slice(0, axis), 1, ...x.shape.slice(axis)]);
  return pairs(wide, tensor([copies, ...x.shape.slice(axis).map(() => 1)]), (a) => a);
}

function concatenate(xs, axis) {
  axis = axisOf(axis, xs[0]);
  const inner = xs.map((x) => size(x.shape.slice(axis)));
  const shape = xs[0].shape.slice();
  shape[axis] = xs.reduce((sum, x) => sum + x.shape[axis], 0);
  const y = tensor(shape);
  let place = 0;
  for (let n = 0; n < size(shape.slice(0, axis)); n++) {
    xs.forEach((x, i) => {
      y.data.set(x.data.subarray(n * inner[i], (n + 1) * inner[i]), place);
      place += inner[i];
    });
  }
  return y;
}

function sum(x, axes) {
  axes = axes === null ? x.shape.map((_, axis) => axis) : axes.map((axis) => axisOf(axis, x));
  const kept = x.shape.map((n, axis) => (axes.includes(axis) ? 1 : n));
  const y = tensor(x.shape.filter((_, axis) => !axes.includes(axis)));
  for (let k = 0; k < x.data.length; k++) {
    let [rest, place, step] = [k, 0, 1];
    for (let axis = kept.length - 1; axis >= 0; axis--) {
      const index = rest % x.shape[axis];
      rest = (rest - index) / x.shape[axis];
      if (kept[axis] !== 1) {
        place += index * step;
        step *= kept[axis];
      }
    }
    y.data[place] += x.data[k];
  }
  return y;
}

function mean(x, axes) {
  const y = sum(x, axes);
  return map(y, (number) => (number * y.data.length) / x.data.length);
}

function rnnCell(cell, f) {
  return (x, [h]) => {
    const y = map(add(linear(x, cell.weight_ih, cell.bias_ih), linear(h, cell.weight_hh, cell.bias_hh)), f);
    return [y];
  };
}

function lstmCell(cell) {
  return (x, [h, c]) => {
    const z = add(linear(x, cell.weight_ih, cell.bias_ih), linear(h, cell.weight_hh, cell.bias_hh));
    const H = h.shape[1];
    const gate = (n, k) => z.data[Math.floor(n / H) * 4 * H + k * H + (n % H)];
    const cNew = map(c, (old, n) => sigmoid(gate(n, 1)) * old + sigmoid(gate(n, 0)) * Math.tanh(gate(n, 2)));
    return [map(cNew, (number, n) => sigmoid(gate(n, 3)) * Math.tanh(number)), cNew];
  };
}

function gruCell(cell) {
  return (x, [h]) => {
    const [a, u] = [linear(x, cell.weight_ih, cell.bias_ih), linear(h, cell.weight_hh, cell.bias_hh)];
    const H = h.shape[1];
    const of = (part, n, k) => part.data[Math.floor(n / H) * 3 * H + k * H + (n % H)];
    const hNew = map(h, (old, n) => {
      const r = sigmoid(of(a, n, 0) + of(u, n, 0));
      const z = sigmoid(of(a, n, 1) + of(u, n, 1));
      return (1 - z) * Math.tanh(of(a, n, 2) + r * of(u, n, 2)) + z * old;
    });
    return [hNew];
  };
}

// A cell over the steps of sequences (B, T, I); its state has so many arrays (B, H).
function unrolled(x, step, hidden, states, sequences, reverse) {
  const [batch, time, width] = x.shape;
  let state = Array.from({ length: states }, () => tensor([batch, hidden]));
  const y = tensor([batch, time, hidden]);
  for (let k = 0; k < time; k++) {
    const t = reverse ? time - 1 - k : k;
    const now = tensor([batch, width]);
    for (let b = 0; b < batch; b++) now.data.set(x.data.subarray((b * time + t) * width, (b * time + t + 1) * width), b * width);
    state = step(now, state);
    for (let b = 0; b < batch; b++) y.data.set(state[0].data.subarray(b * hidden, (b + 1) * hidden), (b * time + t) * hidden);
  }
  return sequences ? y : state[0];
}

// The windows of images (B, C, ...lengths): how many along each axis, and for each the places of what is in it.
function windowed(x, kernel, stride, padding, dilation) {
  const lengths = x.shape.slice(2);
  const counts = lengths.map((n, a) => Math.floor((n + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) / stride[a]) + 1);
  const inside = size(kernel);
  // For each window the places of its entries in an image, -1 for the padding.
  const places = Array.from({ length: size(counts) }, (_, n) => {
    const corner = counts.map((_, a) => Math.floor(n / size(counts.slice(a + 1))) % counts[a]);
    return Array.from({ length: inside }, (_, k) => {
      let place = 0;
      for (let a = 0; a < kernel.length; a++) {
        const within = Math.floor(k / size(kernel.slice(a + 1))) % kernel[a];
        const at = corner[a] * stride[a] - padding[a] + within * dilation[a];
        if (at < 0 || at >= lengths[a]) return -1;
        place = place * lengths[a] + at;
      }
      return place;
    });
  });
  return { counts, places, image: size(lengths) };
}

function convolution(x, weight, bias, stride, padding, dilation, groups) {
  const [outputs, depth, ...kernel] = weight.shape;
  const { counts, places, image } = windowed(x, kernel, stride, padding, dilation);
  const y = tensor([x.shape[0], outputs, ...counts]);
  const [channels, inside] = [x.shape[1], size(kernel)];
  for (let b = 0; b < x.shape[0]; b++) {
    for (let o = 0; o < outputs; o++) {
      const first = b * channels + Math.floor(o / (outputs / groups)) * depth;
      places.forEach((place, n) => {
        let sum = bias === null ? 0 : bias.data[o];
        for (let c = 0; c < depth; c++) {
          for (let k = 0; k < inside; k++) {
            if (place[k] >= 0) sum += x.data[(first + c) * image + place[k]] * weight.data[(o * depth + c) * inside + k];
          }
        }
        y.data[(b * outputs + o) * places.length + n] = sum;
      });
    }
  }
  return y;
}

function transposedConvolution(x, weight, bias, stride, padding, dilation, groups) {
  const [inputs, width, ...kernel] = weight.shape;
  const outputs = width * groups;
  const lengths = x.shape.slice(2).map((n, a) => (n - 1) * stride[a] + dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a]);
  const y = tensor([x.shape[0], outputs, ...lengths]);
  const { places, image } = windowed(y, kernel, stride, padding, dilation);
  for (let n = 0; n < y.data.length; n++) y.data[n] = bias === null ? 0 : bias.data[Math.floor(n / image) % outputs];
  const inside = size(kernel);
  for (let b = 0; b < x.shape[0]; b++) {
    for (let i = 0; i < inputs; i++) {
      const first = b * outputs + Math.floor(i / (inputs / groups)) * width;
      places.forEach((place, n) => {
        const number = x.data[(b * inputs + i) * places.length + n];
        for (let o = 0; o < width; o++) {
          for (let k = 0; k < inside; k++) {
            if (place[k] >= 0) y.data[(first + o) * image + place[k]] += number * weight.data[(i * width + o) * inside + k];
          }
        }
      });
    }
  }
  return y;
}

function maxPool(x, kernel, stride, padding) {
  const { counts, places, image } = windowed(x, kernel, stride, padding, kernel.map(() => 1));
  const y = tensor([...x.shape.slice(0, 2), ...counts]);
  for (let m = 0; m < x.shape[0] * x.shape[1]; m++) {
    places.forEach((place, n) => {
      y.data[m * places.length + n] = place.reduce((a, p) => (p < 0 ? a : Math.max(a, x.data[m * image + p])), -Infinity);
    });
  }
  return y;
}

function avgPool(x, kernel, stride, padding) {
  const { counts, places, image } = windowed(x, kernel, stride, padding, kernel.map(() => 1));
  const y = tensor([...x.shape.slice(0, 2), ...counts]);
  for (let m = 0; m < x.shape[0] * x.shape[1]; m++) {
    places.forEach((place, n) => {
      y.data[m * places.length + n] = place.reduce((a, p) => (p < 0 ? a : a + x.data[m * image + p]), 0) / place.length;
    });
  }
  return y;
}

function upsample(x, scales) {
  const y = tensor([...x.shape.slice(0, 2), ...scales.map((scale, a) => scale * x.shape[a + 2])]);
  for (let k = 0; k < y.data.length; k++) {
    let [rest, place, step] = [k, 0, 1];
    for (let axis = y.shape.length - 1; axis >= 0; axis--) {
      const index = rest % y.shape[axis];
      rest = (rest - index) / y.shape[axis];
      place += step * (axis < 2 ? index : Math.floor(index / scales[axis - 2]));
      step *= x.shape[axis];
    }
    y.data[k] = x.data[place];
  }
  return y;
}

// A number for each channel of (B, C, ...).
function channels(x, f) {
  const [C, image] = [x.shape[1], size(x.shape.slice(2))];
  return map(x, (number, n) => f(number, Math.floor(n / image) % C));
}

function batchNorm2d(x, weight, bias, mean, deviation) {
  return channels(x, (number, c) => (weight.data[c] * (number - mean.data[c])) / deviation.data[c] + bias.data[c]);
}

function groupNorm(x, weight, bias, groups, eps) {
  const flat = reshape(x, [x.shape[0], groups, -1]);
  const one = tensor([flat.shape[2]], new Float64Array(flat.shape[2]).fill(1));
  const h = reshape(layerNorm(flat, one, tensor([flat.shape[2]]), eps), x.shape);
  return channels(h, (number, c) => weight.data[c] * number + bias.data[c]);
}

function rmsNorm(x, weight, eps) {
  return along(x, -1, (line) => {
    const root = Math.sqrt(line.reduce((a, b) => a + b * b, 0) / line.length + eps);
    line.forEach((number, i) => (line[i] = (weight.data[i] * number) / root));
  });
}

function select(x, indices, axis, drops) {
  axis = axisOf(axis, x);
  const inner = size(x.shape.slice(axis + 1));
  const y = tensor([...x.shape.slice(0, axis), indices.length, ...x.shape.slice(axis + 1)]);
  for (let n = 0; n < size(x.shape.slice(0, axis)); n++) {
    indices.forEach((index, k) => {
      const start = (n * x.shape[axis] + (index < 0 ? index + x.shape[axis] : index)) * inner;
      y.data.set(x.data.subarray(start, start + inner), (n * indices.length + k) * inner);
    });
  }
  return drops ? reshape(y, [...y.shape.slice(0, axis), ...y.shape.slice(axis + 1)]) : y;
}

// What slice(start, stop, step) of Python picks on an axis.
function slice(x, start, stop, step, axis) {
  const length = x.shape[axisOf(axis, x)];
  const bound = (n, low, high) => Math.min(Math.max(n < 0 ? n + length : n, low), high);
  const [low, high] = step > 0 ? [0, length] : [-1, length - 1];
  const first = start === null ? (step > 0 ? low : high) : bound(start, low, high);
  const last = stop === null ? (step > 0 ? high : low) : bound(stop, low, high);
  const indices = [];
  for (let i = first; step > 0 ? i < last : i > last; i += step) indices.push(i);
  return select(x, indices, axis, false);
}

function positions(x, f) {
  const [T, n] = x.shape.slice(-2);
  return map(x, (number, k) => number + f(Math.floor(k / n) % T, k % n));
}

function sinusoid(t, column, n) {
  const angle = t / 10000 ** ((column - (column % 2)) / n);
  return column % 2 ? Math.cos(angle) : Math.sin(angle);
}

function attention(x, inWeight, inBias, outWeight, outBias, heads, causal) {
  const [batch, time, n] = x.shape;
  const qkv = linear(x, inWeight, inBias);
  const [depth, o] = [n / heads, tensor(x.shape)];
  const at = (b, t, part, head, d) => qkv.data[(b * time + t) * 3 * n + part * n + head * depth + d];
  for (let b = 0; b < batch; b++) {
    for (let head = 0; head < heads; head++) {
      for (let i = 0; i < time; i++) {
        const seen = causal ? i + 1 : time;
        const scores = tensor([1, seen]);
        for (let j = 0; j < seen; j++) {
          for (let d = 0; d < depth; d++) scores.data[j] += at(b, i, 0, head, d) * at(b, j, 1, head, d);
          scores.data[j] /= Math.sqrt(depth);
        }
        const p = softmax(scores, -1).data;
        for (let j = 0; j < seen; j++) {
          for (let d = 0; d < depth; d++) o.data[(b * time + i) * n + head * depth + d] += p[j] * at(b, j, 2, head, d);
        }
      }
    }
  }
  return linear(o, outWeight, outBias);
}
