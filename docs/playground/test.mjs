// Tests an assembled playground in headless Chromium: `node docs/playground/test.mjs OUT [SCREENSHOTS]`.
//
// OUT is the folder that build.sh wrote. Screenshots go to SCREENSHOTS, OUT-screenshots if absent. The browser is
// that of CHROME or of PATH, else the one that the npm package @sparticuz/chromium contains (Linux, x86-64). npm packages are
// installed in a temporary folder, which is removed again.

import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { nearestIndices, resizeBilinear, standardize } from "./maps.mjs";

const PACKAGES = ["puppeteer-core@24", "@sparticuz/chromium@147"];
const PATIENCE = 60_000;
const TYPES = {
  ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".css": "text/css",
  ".json": "application/json", ".wasm": "application/wasm",
};

const out = process.argv[2];
if (!out || !fs.existsSync(path.join(out, "index.html"))) {
  console.error(`usage: node test.mjs OUT [SCREENSHOTS]; OUT is the folder that build.sh wrote, and ${out} has no index.html`);
  process.exit(2);
}
const screenshots = process.argv[3] || `${path.resolve(out)}-screenshots`;
let passed = 0, failed = 0;

function check(condition, text, detail = "") {
  console.log(`${condition ? "ok    " : "FAILED"} ${text}${detail && ` (${detail})`}`);
  if (condition) passed++;
  else failed++;
}

function close(values, expected, tolerance) {
  return values.every((value, i) => Math.abs(value - expected[i]) <= tolerance);
}

/// Serves a folder, without the paths that `hidden` accepts.
function serve(folder, hidden = () => false) {
  const server = http.createServer((request, response) => {
    const name = decodeURIComponent(new URL(request.url, "http://localhost").pathname).replace(/\/$/, "/index.html");
    const file = path.join(folder, path.normalize(name));
    if (hidden(name) || !fs.existsSync(file) || !fs.statSync(file).isFile()) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": TYPES[path.extname(file)] || "application/octet-stream" });
    fs.createReadStream(file).pipe(response);
  });
  return new Promise(resolve => server.listen(0, "127.0.0.1", () =>
    resolve({ address: `http://127.0.0.1:${server.address().port}/`, close: () => server.close() })));
}

/// A program of PATH or CHROME, if there is one.
function installedBrowser() {
  const names = ["chromium", "chromium-browser", "google-chrome"];
  const folders = (process.env.PATH || "").split(path.delimiter);
  const found = folders.flatMap(folder => names.map(name => path.join(folder, name)));
  return process.env.CHROME || found.find(file => fs.existsSync(file));
}

async function launch(folder) {
  const installed = installedBrowser();
  const packages = installed ? PACKAGES.slice(0, 1) : PACKAGES;
  const options = ["--prefix", folder, "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
  execFileSync("npm", ["install", ...options, ...packages], { stdio: ["ignore", "ignore", "inherit"] });
  const lines = ["export { default as puppeteer } from 'puppeteer-core';"];
  if (!installed) lines.push("export { default as chromium } from '@sparticuz/chromium';");
  const loader = path.join(folder, "load.mjs");
  fs.writeFileSync(loader, lines.join("\n"));
  // @sparticuz/chromium unpacks its program there.
  process.env.TMPDIR = folder;
  const { puppeteer, chromium } = await import(pathToFileURL(loader));
  const executablePath = installed || await chromium.executablePath();
  const args = installed ? ["--no-sandbox", "--disable-gpu"] : chromium.args;
  return puppeteer.launch({ executablePath, args, headless: "shell", timeout: PATIENCE });
}

// ---- The page ----

/// Opens a page and collects its errors.
async function open(browser, address, { width, height, dark = false, touch = false }) {
  const page = await browser.newPage();
  const errors = [];
  page.on("console", message => { if (message.type() === "error") errors.push(message.text()); });
  page.on("pageerror", error => errors.push(error.message));
  page.on("requestfailed", request => errors.push(`${request.url()}: ${request.failure()?.errorText}`));
  page.on("response", response => { if (response.status() >= 400) errors.push(`${response.url()}: ${response.status()}`); });
  page.setDefaultTimeout(PATIENCE);
  await page.setViewport({ width, height, isMobile: touch, hasTouch: touch, deviceScaleFactor: touch ? 2 : 1 });
  if (dark) await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
  await page.goto(address);
  return { page, errors };
}

const runs = page => page.evaluate(() => Number(document.body.dataset.runs || 0));
const visible = page => page.evaluate(() => Number(document.body.dataset.visible));
const pressed = (page, name) => page.$$eval(`#patches-${name} [aria-pressed=true]`, buttons => buttons.length);

/// Does something and waits for the reconstruction after it.
async function andReconstruct(page, action) {
  const before = await runs(page);
  await action();
  await page.waitForFunction(before => Number(document.body.dataset.runs || 0) > before, {}, before);
  // A run in progress may be followed by another one.
  await page.waitForFunction(() => {
    const { runs, visible } = document.body.dataset;
    const settled = Number(visible) === document.querySelectorAll(".patches [aria-pressed=true]").length && window.lastRuns === runs;
    window.lastRuns = runs;
    return settled;
  }, { polling: 200 });
}

function pixels(page, id) {
  return page.$eval(`#${id}`, canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]);
}
async function centre(page, name, patch) {
  const box = await (await page.$(`#patches-${name} [data-patch="${patch}"]`)).boundingBox();
  return [box.x + box.width / 2, box.y + box.height / 2];
}
const differing = (a, b) => a.filter((value, i) => value !== b[i]).length;
const distinct = values => new Set(Array.from({ length: values.length / 4 }, (_, i) => values.slice(4 * i, 4 * i + 3).join())).size;

async function testDesktop(browser, address) {
  const { page, errors } = await open(browser, address, { width: 1280, height: 900 });
  await andReconstruct(page, async () => {});
  const model = await page.evaluate(async () => (await fetch("model/model.json")).json());
  const [first] = model.inputs, [rows, columns] = first.grid, total = model.inputs.length * rows * columns;
  const tasks = model.outputs.map(output => output.name.replace(/_reconstruction$/, ""))
    .filter((task, i) => task === (model.outputs[i].modality ?? task));
  check(await visible(page) === Math.round(total / 4), "the page opens with a quarter of all patches", `${await visible(page)} of ${total}`);
  for (const task of tasks) {
    const colors = distinct(await pixels(page, `reconstruction-${task}`));
    check(colors > 1, `the reconstruction of ${task} is not constant`, `${colors} colours`);
  }
  await page.screenshot({ path: path.join(screenshots, "desktop.png"), fullPage: true });

  // Without pasted patches, a reconstruction changes only by the model.
  const own = tasks.includes(first.name) ? first.name : tasks[0];
  await page.click("#paste");
  let before = await pixels(page, `reconstruction-${own}`), count = await visible(page), shown = await pressed(page, first.name);
  const hidden = await page.$eval(`#patches-${first.name} [aria-pressed=false]`, button => button.dataset.patch);
  await andReconstruct(page, async () => page.mouse.click(...await centre(page, first.name, hidden)));
  check(await visible(page) === count + 1 && await pressed(page, first.name) === shown + 1, "a click shows a hidden patch");
  let change = differing(before, await pixels(page, `reconstruction-${own}`));
  check(change > 0, `a click changes the reconstruction of ${own}`, `${change} values`);
  await andReconstruct(page, async () => page.mouse.click(...await centre(page, first.name, hidden)));
  check(await visible(page) === count, "a second click hides it again");
  change = differing(before, await pixels(page, `reconstruction-${own}`));
  check(change === 0, "the same patches give the same reconstruction", `${change} values differ`);

  if (tasks.includes(first.name)) {
    await page.click("#paste");
    const [original, pasted] = [await pixels(page, `original-${first.name}`), await pixels(page, `reconstruction-${first.name}`)];
    const patches = await page.$$eval(`#patches-${first.name} button`, all => all.map(button => button.getAttribute("aria-pressed") === "true"));
    const [width, side] = [model.width / first.stride, model.patch_size / first.stride];
    const equal = patches.every((isVisible, patch) => !isVisible || Array.from({ length: side }, (_, y) => y).every(y => {
      const at = 4 * ((Math.floor(patch / columns) * side + y) * width + (patch % columns) * side);
      return differing(original.slice(at, at + 4 * side), pasted.slice(at, at + 4 * side)) === 0;
    }));
    check(equal, "visible patches are pasted into the reconstruction");
  }

  // Drag over the first row of a modality without visible patches.
  await andReconstruct(page, () => page.click(`#none-${first.name}`));
  check(await pressed(page, first.name) === 0, "'none' of a modality hides its patches");
  await andReconstruct(page, async () => {
    await page.mouse.move(...await centre(page, first.name, 0));
    await page.mouse.down();
    await page.mouse.move(...await centre(page, first.name, columns - 1), { steps: 3 });
    await page.mouse.up();
  });
  check(await pressed(page, first.name) === columns, "a drag shows the patches of a row", `${await pressed(page, first.name)} of ${columns}`);

  // The keyboard: from the last patch of the drag down, and toggle.
  await andReconstruct(page, async () => {
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("ArrowLeft");
    await page.keyboard.press("Space");
  });
  const focused = await page.evaluate(() => [document.activeElement.dataset.patch, document.activeElement.getAttribute("aria-pressed")]);
  check(focused.join() === `${2 * columns - 2},true`, "arrow keys move and space toggles", focused.join());
  const stops = await page.$$eval(".patches [tabindex='0']", buttons => buttons.length);
  check(stops === model.inputs.length, "each grid is one stop of the tab key", `${stops}`);

  await page.click("#none");
  await page.waitForFunction(() => document.body.dataset.visible === "0");
  check(/at least one/.test(await page.$eval("#status", status => status.textContent)), "without visible patches, the page asks for one");
  await andReconstruct(page, () => page.click("#all"));
  check(await visible(page) === total, "'all' shows all patches");
  await andReconstruct(page, () => page.click("#random"));
  check(await visible(page) === Math.round(total / 4), "'random' shows a quarter of all patches");

  before = await pixels(page, `original-${first.name}`);
  const rooms = await page.$$eval("#room option", options => options.map(option => option.value));
  await andReconstruct(page, () => page.select("#room", rooms.at(-1)));
  change = differing(before, await pixels(page, `original-${first.name}`));
  check(rooms.length > 1 && change > 0, "another room has another picture", `${rooms.length} rooms, ${change} values differ`);
  check(await page.$eval("#error", box => box.hidden), "the page shows no error");
  check(errors.length === 0, "there is no error in the console", errors.join("; "));
  console.log(`       last run: ${await page.$eval("#time", time => time.textContent)}`);
  await page.close();
}

async function testPhone(browser, address) {
  const { page, errors } = await open(browser, address, { width: 390, height: 844, touch: true });
  await andReconstruct(page, async () => {});
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  check(wide <= 390, "the page fits a width of 390 pixels", `${wide}`);
  const name = await page.$eval(".patches", box => box.id.replace("patches-", ""));
  const count = await pressed(page, name), patch = await page.$eval(`#patches-${name} [aria-pressed=false]`, button => button.dataset.patch);
  await andReconstruct(page, async () => page.touchscreen.tap(...await centre(page, name, patch)));
  check(await pressed(page, name) === count + 1, "a tap shows a hidden patch");
  check(errors.length === 0, "there is no error in the console", errors.join("; "));
  await page.screenshot({ path: path.join(screenshots, "phone.png"), fullPage: true });
  await page.close();
}

async function testDark(browser, address) {
  const { page } = await open(browser, address, { width: 1280, height: 900, dark: true });
  await andReconstruct(page, async () => {});
  const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  check(background.match(/\d+/g).slice(0, 3).every(value => value < 64), "the page follows a dark colour scheme", background);
  await page.screenshot({ path: path.join(screenshots, "dark.png"), fullPage: true });
  await page.close();
}

/// Missing files lead to an error with the command to run.
async function testErrors(browser) {
  for (const [name, hidden] of [["onnxruntime-web", "/ort/"], ["the model", "/model/model.onnx"], ["the rooms", "/rooms/"]]) {
    const server = await serve(out, file => file.startsWith(hidden));
    const { page } = await open(browser, server.address, { width: 800, height: 600 });
    await page.waitForFunction(() => !document.getElementById("error").hidden);
    const text = await page.$eval("#error", box => box.textContent);
    check(text.includes("could not be loaded") && text.includes("build.sh"), `without ${name}, the page says what to run`, text.split("\n")[0].trim());
    if (hidden === "/model/model.onnx") await page.screenshot({ path: path.join(screenshots, "error.png") });
    await page.close();
    server.close();
  }
  const { page } = await open(browser, pathToFileURL(path.resolve(out, "index.html")).href, { width: 800, height: 600 });
  const text = await page.$eval("#error", box => (box.hidden ? "" : box.textContent));
  check(text.includes("file://") && text.includes("http.server"), "opened as a file, the page says what to run", text.split("\n")[0].trim());
  await page.close();
}

/// The maps, against the numbers of the tests of crates/multimae-data.
function testMaps() {
  const wave = Float32Array.from({ length: 4096 }, (_, j) => Math.cos(0.05 * j));
  const { values, mean } = standardize(wave);
  check(Math.abs(mean + 0.0033850705) < 1e-7, "the mean of a wave is that of training", `${mean}`);
  check(close(values.slice(0, 3), [1.61797724, 1.61596201, 1.60992136], 1e-6), "so are its standardised values", `${values.slice(0, 3)}`);
  check(nearestIndices(7, 3).join() === "1,3,5" && nearestIndices(296, 43).slice(20, 23).join() === "141,147,154", "nearest pixels are those of training");
  const image = Float32Array.from({ length: 20 }, (_, i) => {
    const [y, x] = [Math.floor(i / 5), i % 5];
    return (37 * y + 59 * x + 11 * x * y) % 256;
  });
  const expected = [55.081635, 152.01587, 165.93877, 120.63265, 143.14285, 144.7551];
  const resized = resizeBilinear(image, [4, 5], [2, 3]);
  check(close(resized, expected, 1e-3), "bilinear resizing is that of Pillow", `${resized}`);
}

testMaps();
fs.mkdirSync(screenshots, { recursive: true });
const folder = fs.mkdtempSync(path.join(os.tmpdir(), "playground-test-"));
const server = await serve(out);
let browser;
try {
  browser = await launch(folder);
  console.log(`       ${await browser.version()}`);
  await testDesktop(browser, server.address);
  await testPhone(browser, server.address);
  await testDark(browser, server.address);
  await testErrors(browser);
} catch (error) {
  check(false, "the test ran to its end", error.stack);
} finally {
  await browser?.close();
  server.close();
  fs.rmSync(folder, { recursive: true, force: true });
}
console.log(`screenshots: ${screenshots}`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
