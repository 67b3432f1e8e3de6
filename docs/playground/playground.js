// The page of the playground: patches to choose, and the reconstructions of model/model.onnx.
import {
  argmax, classColor, isLabels, pasteVisible, prepare, rangeOf, readRoom, toPixels, VIRIDIS_GRADIENT,
} from "./maps.mjs";

const RANDOM_SHARE = 0.25;
const $ = id => document.getElementById(id);

const state = {
  ort: null, session: null,
  /// model.json, and the modalities: inputs first, then outputs that are no inputs.
  model: null, modalities: [],
  /// rooms/index.json, and the current room's maps in the model's units, by modality.
  index: null, prepared: {},
  /// Sets of visible patches by input.
  visible: {},
  /// Reconstructed maps by task, in the units of the input; null while no patch is visible.
  output: null,
  running: false, again: false, roomRequest: 0,
};

start();

async function start() {
  if (location.protocol === "file:") return;
  try {
    state.ort = await withAdvice(import("./ort/ort.wasm.min.mjs"), "onnxruntime-web could not be loaded from ort/");
    // The model runs in a worker, so that the page stays responsive.
    state.ort.env.wasm.proxy = true;
    state.model = await loadJson("model/model.json", "The description of the model");
    state.index = await loadJson("rooms/index.json", "The list of rooms");
    layOut();
    await changeRoom(state.index.rooms[0]);
    say("Loading the model…");
    const weights = await load("model/model.onnx", "The model");
    const megabytes = (weights.byteLength / 1e6).toFixed(1);
    say(`Preparing the model (${megabytes} MB)…`);
    state.session = await withAdvice(createSession(weights), "onnxruntime-web could not start the model");
    for (const id of ["random", "all", "none", "room"]) $(id).disabled = false;
    drawRandom();
  } catch (error) {
    console.error(error);
    showError(error.message);
  }
}

async function createSession(weights) {
  const session = await state.ort.InferenceSession.create(new Uint8Array(weights), { executionProviders: ["wasm"] });
  const needed = [...state.model.inputs.map(input => input.name), "visible"];
  const missing = needed.filter(name => !session.inputNames.includes(name));
  if (missing.length) throw new Error(`model.onnx has no input ${missing.join(", ")}; export a pre-trained model`);
  return session;
}

/// Puts what failed in front of an error's message.
async function withAdvice(promise, failed) {
  try {
    return await promise;
  } catch (error) {
    throw new Error(`${failed}: ${error.message || error}`);
  }
}

async function load(path, content) {
  const response = await withAdvice(fetch(path), `${content} (${path}) could not be loaded`);
  if (!response.ok) throw new Error(`${content} (${path}) could not be loaded: ${response.status} ${response.statusText}`);
  return withAdvice(response.arrayBuffer(), `${content} (${path}) could not be loaded`);
}

async function loadJson(path, content) {
  const bytes = await load(path, content);
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch (error) {
    throw new Error(`${content} (${path}) is not valid JSON: ${error.message}`);
  }
}

function say(...parts) { $("status").replaceChildren(...parts); }

// ---- Layout ----

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/// Makes a card per modality.
function layOut() {
  const { model } = state;
  // Tasks in other units than their modality, such as norm_rgb, are left out.
  model.outputs = model.outputs
    .map(output => ({ ...output, name: output.name.replace(/_reconstruction$/, "") }))
    .filter(output => output.name === (output.modality ?? output.name));
  const names = model.inputs.map(input => input.name);
  state.modalities = [...model.inputs, ...model.outputs.filter(output => !names.includes(output.name))];
  $("cards").style.setProperty("--modalities", state.modalities.length);
  for (const modality of state.modalities) $("cards").append(card(modality));
  for (const input of model.inputs) state.visible[input.name] = new Set();
  for (const id of state.index.rooms) $("room").append(new Option(id, id));
  $("room").onchange = () => changeRoom($("room").value);
  $("random").onclick = drawRandom;
  $("all").onclick = () => shown().forEach(input => showAll(input.name));
  $("none").onclick = () => shown().forEach(input => showNone(input.name));
  $("paste").onchange = draw;
}

function patchCount({ grid: [rows, columns] }) { return rows * columns; }
function isInput(name) { return state.model.inputs.some(input => input.name === name); }
function isOutput(name) { return state.model.outputs.some(output => output.name === name); }
/// The inputs that the current room has.
function shown() { return state.model.inputs.filter(input => state.prepared[input.name]); }

function card(modality) {
  const { name } = modality;
  const title = element("div", { className: "title" }, element("h2", { textContent: name, id: `title-${name}` }),
    element("span", { className: "count", id: `count-${name}` }));
  const made = element("section", { className: "card" }, title);
  made.setAttribute("aria-labelledby", `title-${name}`);
  if (isInput(name)) {
    for (const [text, action] of [["all", showAll], ["none", showNone]]) {
      const button = element("button", { type: "button", textContent: text, id: `${text}-${name}` });
      button.setAttribute("aria-label", `${name}: ${text} patches`);
      button.onclick = () => action(name);
      title.append(button);
    }
    made.append(picture("input", modality, "visible patches", patches(modality)));
  }
  if (isOutput(name)) made.append(picture("reconstruction", modality, "reconstruction"));
  made.append(picture("original", modality, "original"));
  made.append(element("div", { id: `legend-${name}`, className: isLabels(modality) ? "legend" : "scale", hidden: true }));
  return made;
}

function picture(role, modality, caption, ...over) {
  const canvas = element("canvas", {
    id: `${role}-${modality.name}`, width: state.model.width / modality.stride, height: state.model.height / modality.stride,
    className: isLabels(modality) ? "pixelated" : "",
  });
  if (role === "input") canvas.setAttribute("aria-hidden", "true");
  else {
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${modality.name}: ${caption}`);
  }
  return element("figure", { className: role }, element("div", { className: "stage" }, canvas, ...over),
    element("figcaption", { textContent: caption }));
}

// ---- Patches ----

/// A grid of toggle buttons. One of them is in the tab order; the arrow keys move among them.
function patches(modality) {
  const { name, grid: [rows, columns] } = modality;
  const box = element("div", { className: "patches", id: `patches-${name}` });
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", `${name}: patches, ${rows} rows of ${columns}`);
  box.style.gridTemplate = `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)`;
  for (let patch = 0; patch < rows * columns; patch++) {
    const button = element("button", { type: "button", tabIndex: patch === 0 ? 0 : -1 });
    button.dataset.patch = patch;
    button.setAttribute("aria-pressed", "false");
    button.setAttribute("aria-label", `row ${Math.floor(patch / columns) + 1}, column ${patch % columns + 1}`);
    box.append(button);
  }
  box.onkeydown = event => moveFocus(event, box, columns);
  drawByPointer(box, name, columns);
  return box;
}

function moveFocus(event, box, columns) {
  const from = Number(event.target.dataset.patch);
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (!step) return;
  event.preventDefault();
  const sideways = Math.abs(step) === 1 && Math.floor((from + step) / columns) !== Math.floor(from / columns);
  const next = sideways ? null : box.children[from + step];
  if (next) focusPatch(box, next);
}

function focusPatch(box, button) {
  for (const other of box.children) other.tabIndex = other === button ? 0 : -1;
  button.focus({ preventScroll: true });
}

/// Toggles patches by clicks and drags. A drag gives all patches that it touches the new state of the first.
function drawByPointer(box, name, columns) {
  let drag = null, drawn = false;
  const patchAt = event => {
    const button = document.elementFromPoint(event.clientX, event.clientY);
    return button && button.parentElement === box ? Number(button.dataset.patch) : null;
  };
  const apply = patch => { drag.applied = true; setPatch(name, patch, drag.value); };
  box.onpointerdown = event => {
    const patch = patchAt(event);
    drawn = false;
    if (patch === null || event.button !== 0 || !event.isPrimary) return;
    drag = { first: patch, last: patch, value: !state.visible[name].has(patch), applied: false };
    box.setPointerCapture(event.pointerId);
    // A finger may be about to scroll the page.
    if (event.pointerType !== "touch") apply(patch);
  };
  box.onpointermove = event => {
    const patch = drag && patchAt(event);
    if (patch === null || !drag || patch === drag.last) return;
    if (!drag.applied) apply(drag.first);
    for (const crossed of line(drag.last, patch, columns)) apply(crossed);
    drag.last = patch;
  };
  box.onpointerup = event => {
    if (!drag) return;
    if (!drag.applied) apply(drag.first);
    drawn = true;
    const button = box.children[drag.last];
    drag = null;
    if (event.pointerType === "mouse") focusPatch(box, button);
  };
  box.onpointercancel = () => { drag = null; };
  // Keyboards and screen readers click without a pointer.
  box.onclick = event => {
    const patch = event.target.dataset.patch;
    if (patch !== undefined && !(drawn && event.detail > 0)) setPatch(name, Number(patch), !state.visible[name].has(Number(patch)));
    drawn = false;
  };
}

/// The patches on a straight line, without the first: a fast pointer skips some.
function line(from, to, columns) {
  const [y0, x0, y1, x1] = [from, to].flatMap(patch => [Math.floor(patch / columns), patch % columns]);
  const steps = Math.max(Math.abs(y1 - y0), Math.abs(x1 - x0));
  return Array.from({ length: steps }, (_, i) => {
    const t = (i + 1) / steps;
    return Math.round(y0 + t * (y1 - y0)) * columns + Math.round(x0 + t * (x1 - x0));
  });
}

function setPatch(name, patch, visible) {
  if (!state.prepared[name] || state.visible[name].has(patch) === visible) return;
  if (visible) state.visible[name].add(patch);
  else state.visible[name].delete(patch);
  changed();
}

function showAll(name) {
  if (!state.prepared[name]) return;
  const input = state.model.inputs.find(input => input.name === name);
  state.visible[name] = new Set(Array(patchCount(input)).keys());
  changed();
}

function showNone(name) {
  state.visible[name] = new Set();
  changed();
}

/// Draws a quarter of the patches of all inputs together.
function drawRandom() {
  const all = shown().flatMap(input => Array.from({ length: patchCount(input) }, (_, patch) => [input.name, patch]));
  const count = Math.max(1, Math.round(RANDOM_SHARE * all.length));
  for (const input of state.model.inputs) state.visible[input.name] = new Set();
  for (let i = 0; i < count; i++) {
    const j = i + Math.floor(Math.random() * (all.length - i));
    [all[i], all[j]] = [all[j], all[i]];
    state.visible[all[i][0]].add(all[i][1]);
  }
  changed();
}

/// Shows the choice of patches, and reconstructs from it.
function changed() {
  for (const input of state.model.inputs) {
    const visible = state.visible[input.name], present = state.prepared[input.name];
    $(`count-${input.name}`).textContent = present ? `${visible.size} of ${patchCount(input)}` : "";
    [...$(`patches-${input.name}`).children].forEach((button, patch) =>
      button.setAttribute("aria-pressed", visible.has(patch)));
  }
  reconstruct();
}

// ---- Rooms ----

async function changeRoom(id) {
  const request = ++state.roomRequest;
  try {
    const room = readRoom(await load(`rooms/${id}.bin`, "The room"), state.index);
    // Another room has been selected in the meantime.
    if (request !== state.roomRequest) return;
    state.prepared = {};
    for (const modality of state.modalities) {
      const prepared = prepare(room, modality, state.model);
      state.prepared[modality.name] = prepared;
      if (prepared) {
        prepared.range = rangeOf(prepared.values);
        prepared.pixels = toPixels(prepared.values, modality, state.model, prepared.range);
        show("original", modality, prepared.pixels);
        if (isInput(modality.name)) show("input", modality, prepared.pixels);
      } else if (isInput(modality.name)) state.visible[modality.name] = new Set();
    }
    state.output = null;
    state.modalities.forEach(legend);
    if (state.session) changed();
  } catch (error) {
    console.error(error);
    showError(error.message);
  }
}

/// Explains the colours of a modality: its classes, or the values at the ends of its scale.
function legend(modality) {
  const prepared = state.prepared[modality.name];
  const box = $(`legend-${modality.name}`);
  for (const role of ["input", "original"]) {
    const figure = $(`${role}-${modality.name}`)?.closest("figure");
    if (figure) figure.hidden = !prepared;
  }
  box.hidden = !prepared || !(isLabels(modality) || modality.channels === 1);
  if (box.hidden) return;
  if (isLabels(modality)) {
    const ids = [...new Set([...prepared.values, ...(state.output?.[modality.name] || [])])].sort((a, b) => a - b);
    box.replaceChildren(...ids.map(id => {
      const square = element("i");
      square.style.background = `rgb(${classColor(id, modality.channels)})`;
      return element("span", {}, square, state.index.label_names?.[id] || `class ${id}`);
    }));
    return;
  }
  const value = x => prepared.scale ? `${(prepared.mean + prepared.scale * x).toFixed(1)} m` : x.toFixed(2);
  const bar = element("i");
  bar.style.background = VIRIDIS_GRADIENT;
  box.replaceChildren(value(prepared.range[0]), bar, value(prepared.range[1]));
}

// ---- The model ----

/// Indices of the visible tokens, ascending: patch p of the m-th input is m * N + p.
function visibleTokens() {
  let start = 0;
  const tokens = [];
  for (const input of state.model.inputs) {
    tokens.push(...[...state.visible[input.name]].sort((a, b) => a - b).map(patch => start + patch));
    start += patchCount(input);
  }
  return tokens;
}

/// The tensors of a run. Invalid pixels, and maps that the room does not have, are 0.
function tensors(tokens) {
  const { Tensor } = state.ort, feeds = {};
  for (const input of state.model.inputs) {
    const [height, width] = [state.model.height / input.stride, state.model.width / input.stride];
    const values = state.prepared[input.name]?.values;
    const at = i => values && !Number.isNaN(values[i]) ? values[i] : 0;
    feeds[input.name] = isLabels(input)
      ? new Tensor("int64", BigInt64Array.from({ length: height * width }, (_, i) => BigInt(at(i))), [1, height, width])
      : new Tensor("float32", Float32Array.from({ length: input.channels * height * width }, (_, i) => at(i)),
        [1, input.channels, height, width]);
  }
  feeds.visible = new Tensor("int64", BigInt64Array.from(tokens, BigInt), [tokens.length]);
  return feeds;
}

/// Runs the model on the current choice. Changes during a run lead to one more run.
async function reconstruct() {
  if (!state.session) return;
  if (state.running) { state.again = true; return; }
  state.running = true;
  try {
    do {
      state.again = false;
      await reconstructOnce();
    } while (state.again);
  } catch (error) {
    console.error(error);
    showError(`The model could not be run: ${error.message || error}`);
  } finally {
    state.running = false;
  }
}

async function reconstructOnce() {
  const tokens = visibleTokens(), total = shown().reduce((sum, input) => sum + patchCount(input), 0);
  if (tokens.length === 0) {
    state.output = null;
    draw();
    say("No patch is visible. Show at least one to reconstruct the room.");
    document.body.dataset.visible = "0";
    return;
  }
  const room = state.prepared, feeds = tensors(tokens), begin = performance.now();
  const results = await state.session.run(feeds);
  const took = performance.now() - begin;
  // The room has changed during the run, and another run follows.
  if (room !== state.prepared) return;
  state.output = {};
  for (const output of state.model.outputs) {
    const data = results[`${output.name}_reconstruction`].data;
    const pixels = state.model.height * state.model.width / output.stride ** 2;
    state.output[output.name] = isLabels(output) ? argmax(data, pixels) : data;
  }
  draw();
  $("error").hidden = true;
  const time = element("strong", { id: "time", textContent: `${Math.round(took)} ms` });
  say(`${tokens.length} of ${total} patches visible, reconstructed in `, time);
  document.body.dataset.visible = tokens.length;
  document.body.dataset.runs = Number(document.body.dataset.runs || 0) + 1;
}

/// Draws the reconstructions.
function draw() {
  for (const output of state.model?.outputs || []) {
    const canvas = $(`reconstruction-${output.name}`), values = state.output?.[output.name];
    canvas.classList.toggle("stale", !values);
    if (!values) continue;
    const prepared = state.prepared[output.name];
    const pixels = toPixels(values, output, state.model, prepared?.range || rangeOf(values));
    if ($("paste").checked && prepared && isInput(output.name))
      pasteVisible(pixels, prepared.pixels, state.visible[output.name], output.grid, [canvas.height, canvas.width]);
    show("reconstruction", output, pixels);
    if (isLabels(output)) legend(output);
  }
}

function show(role, modality, pixels) {
  const canvas = $(`${role}-${modality.name}`);
  canvas.getContext("2d").putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
}
