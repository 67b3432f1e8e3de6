// Maps of a room: resized and normalised for the model, and coloured for the page. No DOM, so that
// test.mjs can import this file.
//
// A map is a Float32Array of planes (channel, row, column). NaN marks invalid pixels.

/// Added to the variance before the square root, as in training.
const EPS = 1e-6;
const MILLIMETRES = 1000;

/// Colours of the NYUv2-40 ids, 0 = void, as in the figures of `multimae`.
const NYU40 = [
  [0, 0, 0], [174, 190, 205], [176, 138, 98], [226, 119, 62], [222, 88, 104], [44, 148, 82], [138, 84, 176],
  [240, 188, 64], [122, 74, 42], [92, 190, 232], [158, 44, 70], [232, 92, 172], [16, 132, 140], [165, 135, 255],
  [255, 165, 255], [90, 0, 195], [70, 110, 190], [60, 255, 165], [0, 90, 0], [120, 0, 120], [195, 0, 150],
  [30, 150, 255], [232, 226, 206], [120, 200, 60], [160, 240, 250], [36, 58, 120], [255, 165, 165], [120, 90, 255],
  [195, 75, 225], [0, 75, 225], [180, 135, 180], [255, 20, 20], [135, 120, 0], [20, 200, 190], [165, 240, 0],
  [250, 232, 60], [180, 75, 0], [150, 0, 180], [70, 84, 98], [152, 98, 110], [128, 130, 124],
];
/// Nine colours of viridis at equal distances.
const VIRIDIS = [
  [68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140], [40, 174, 128], [94, 201, 98],
  [173, 220, 48], [253, 231, 37],
];
/// The colour of invalid pixels.
const INVALID = [128, 128, 128];

/// Splits the bytes of a room file into maps; rooms.mjs describes the format.
export function readRoom(buffer, index) {
  const maps = {};
  let offset = 0;
  for (const { name, type, channels } of index.maps) {
    const length = index.height * index.width * channels;
    const bytes = length * (type === "uint16" ? 2 : 1);
    if (offset + bytes > buffer.byteLength) throw new Error(`the room file ends within its map '${name}'`);
    const part = buffer.slice(offset, offset + bytes);
    maps[name] = { channels, values: type === "uint16" ? new Uint16Array(part) : new Uint8Array(part) };
    offset += bytes;
  }
  return { height: index.height, width: index.width, maps };
}

/// Brings a map of a room to the size and the units of a modality of the model.
///
/// `modality` and `model` are those of model.json. The result has `values`, `height`, `width`, and for
/// depth `mean` and `scale` of the standardisation. It is null if the room does not have the map.
export function prepare(room, modality, model) {
  const map = room.maps[modality.name];
  if (!map) return null;
  const from = [room.height, room.width], full = [model.height, model.width];
  const [height, width] = full.map(side => side / modality.stride);
  const prepared = { height, width };
  if (isLabels(modality)) {
    // Two steps, as in training: to the full size, and from there to 1/stride.
    const [rows, columns] = [0, 1].map(axis => {
      const picked = nearestIndices(from[axis], full[axis]);
      return nearestIndices(full[axis], full[axis] / modality.stride).map(index => picked[index]);
    });
    prepared.values = pick(map.values, from[1], rows, columns).map(id => (id < modality.channels ? id : 0));
    return prepared;
  }
  if (modality.name === "depth") {
    const [rows, columns] = [nearestIndices(from[0], height), nearestIndices(from[1], width)];
    const metres = pick(map.values, from[1], rows, columns).map(mm => (mm > 0 ? mm / MILLIMETRES : NaN));
    return { ...prepared, ...standardize(metres) };
  }
  const planes = [];
  for (let c = 0; c < map.channels; c++) {
    const plane = Float32Array.from({ length: from[0] * from[1] }, (_, i) => map.values[i * map.channels + c]);
    const resized = resizeBilinear(plane, from, [height, width]);
    planes.push(resized.map(value => normalize(value, modality, model, c)));
  }
  prepared.values = join(planes);
  return prepared;
}

export function isLabels(modality) { return modality.kind !== "continuous"; }

/// RGB by the mean and standard deviation of model.json; the components of vectors from 0..255 to -1..1.
function normalize(value, { name }, { mean, std }, channel) {
  return name === "rgb" ? (value / 255 - mean[channel]) / std[channel] : (value - 127.5) / 127.5;
}

/// Subtracts the mean and divides by the standard deviation of the values between the 10th and the 90th
/// percentile (unbiased variance plus 1e-6). NaN enters no statistic and stays NaN.
export function standardize(values) {
  const sorted = values.filter(value => !Number.isNaN(value)).sort();
  const middle = sorted.subarray(Math.floor(0.1 * sorted.length), Math.floor(0.9 * sorted.length));
  const mean = middle.length ? middle.reduce((sum, x) => sum + x, 0) / middle.length : 0;
  const squares = middle.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  const scale = Math.sqrt(squares / Math.max(middle.length - 1, 1) + EPS);
  return { values: values.map(x => (x - mean) / scale), mean, scale };
}

/// For each of `to` pixels, the nearest of `from` pixels along one axis. The position is a running sum, as
/// in Pillow: where it should be a whole number, its rounding error decides.
export function nearestIndices(from, to) {
  const step = from / to;
  let position = 0.5 * step;
  return Array.from({ length: to }, () => {
    const index = Math.min(Math.floor(position), from - 1);
    position += step;
    return index;
  });
}

function pick(values, stride, rows, columns) {
  return Float32Array.from(rows.flatMap(row => columns.map(column => values[row * stride + column])));
}

/// Resizes a plane bilinearly; the filter gets wider where the plane gets smaller (antialiased).
export function resizeBilinear(plane, [height, width], [toHeight, toWidth]) {
  const narrow = new Float32Array(height * toWidth), resized = new Float32Array(toHeight * toWidth);
  filters(width, toWidth).forEach(({ first, weights }, x) => {
    for (let y = 0; y < height; y++)
      narrow[y * toWidth + x] = weights.reduce((sum, w, k) => sum + w * plane[y * width + first + k], 0);
  });
  filters(height, toHeight).forEach(({ first, weights }, y) => {
    for (let x = 0; x < toWidth; x++)
      resized[y * toWidth + x] = weights.reduce((sum, w, k) => sum + w * narrow[(first + k) * toWidth + x], 0);
  });
  return resized;
}

/// The first pixel and the weights under the triangle filter of each pixel of the result.
function filters(from, to) {
  const step = from / to, radius = Math.max(step, 1);
  return Array.from({ length: to }, (_, index) => {
    const centre = (index + 0.5) * step;
    const first = Math.max(Math.floor(centre - radius), 0), end = Math.min(Math.ceil(centre + radius), from);
    const weights = Array.from({ length: end - first }, (_, k) =>
      Math.max(1 - Math.abs(first + k + 0.5 - centre) / radius, 0));
    const sum = weights.reduce((a, b) => a + b, 0);
    return { first, weights: weights.map(weight => weight / sum) };
  });
}

function join(planes) {
  const all = new Float32Array(planes.length * planes[0].length);
  planes.forEach((plane, c) => all.set(plane, c * plane.length));
  return all;
}

/// The class with the largest logit of every pixel.
export function argmax(logits, pixels) {
  return Float32Array.from({ length: pixels }, (_, pixel) => {
    let best = 0;
    for (let c = 1; c * pixels < logits.length; c++)
      if (logits[c * pixels + pixel] > logits[best * pixels + pixel]) best = c;
    return best;
  });
}

/// Least and greatest value that is not NaN.
export function rangeOf(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

/// The colour of a class.
export function classColor(id, classes) {
  if (classes === NYU40.length) return NYU40[id] || INVALID;
  // Hues at the golden angle, in three lightnesses.
  const hue = (id * 137.508) % 360, light = [0.5, 0.65, 0.38][id % 3];
  const channel = n => {
    const k = (n + hue / 30) % 12;
    return Math.round(255 * (light - 0.65 * Math.min(light, 1 - light) * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/// Colours a map: RGBA, row-major. `range` is that of single-channel maps.
export function toPixels(values, modality, model, range) {
  const area = values.length / (isLabels(modality) ? 1 : modality.channels);
  const pixels = new Uint8ClampedArray(4 * area);
  const at = (pixel, channel) => values[channel * area + pixel];
  for (let pixel = 0; pixel < area; pixel++) {
    let color;
    if (isLabels(modality)) color = classColor(values[pixel], modality.channels);
    else if (modality.name === "rgb")
      color = [0, 1, 2].map(c => 255 * (at(pixel, c) * model.std[c] + model.mean[c]));
    else if (modality.channels === 3) color = [0, 1, 2].map(c => 127.5 * (at(pixel, c) + 1));
    else color = viridis((at(pixel, 0) - range[0]) / Math.max(range[1] - range[0], 1e-9));
    pixels.set([...color, 255], 4 * pixel);
  }
  return pixels;
}

function viridis(t) {
  if (Number.isNaN(t)) return INVALID;
  const x = Math.min(Math.max(t, 0), 1) * (VIRIDIS.length - 1), i = Math.min(Math.floor(x), VIRIDIS.length - 2);
  return VIRIDIS[i].map((a, c) => a + (VIRIDIS[i + 1][c] - a) * (x - i));
}
export const VIRIDIS_GRADIENT = `linear-gradient(to right, ${VIRIDIS.map(c => `rgb(${c})`).join(", ")})`;

/// Copies the visible patches of one RGBA picture into another. `grid` is (rows, columns).
export function pasteVisible(pixels, original, visible, [rows, columns], [height, width]) {
  const [tall, wide] = [height / rows, width / columns];
  for (const patch of visible) {
    const [top, left] = [Math.floor(patch / columns) * tall, (patch % columns) * wide];
    for (let y = top; y < top + tall; y++) {
      const begin = 4 * (y * width + left);
      pixels.set(original.subarray(begin, begin + 4 * wide), begin);
    }
  }
}
