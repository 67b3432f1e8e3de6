// Converts rooms to files that a page can read without loss: `node rooms.mjs ROOMS OUT [COUNT]`.
//
// ROOMS has rgb/*.png and depth/*.png (16 bits, millimetres, 0 = invalid), and, if the model needs them,
// label40/*.png (class ids) and normal/*.png (unit vectors, 0..255), all of the same size. Rooms listed in
// ROOMS/val.txt come first, so that a model trained on the same folder has not seen them.
//
// Format of OUT:
//   index.json  {"height": H, "width": W, "maps": [{"name", "type", "channels"}, ...], "rooms": ["00003", ...],
//               "label_names": {"0": "void", ...}}
//   00003.bin   the maps of a room one after the other, in the order of "maps": H * W * channels numbers each,
//               row-major, channels last, of "type" uint8 or uint16 (little-endian). No header, no padding.
//
// Node built-ins only.

import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";

/// Folders of ROOMS, and the modality of each.
const FOLDERS = [
  { folder: "rgb", name: "rgb", type: "uint8", channels: 3 },
  { folder: "depth", name: "depth", type: "uint16", channels: 1 },
  { folder: "label40", name: "semseg", type: "uint8", channels: 1 },
  { folder: "normal", name: "normal", type: "uint8", channels: 3 },
];
/// Channels of the colour types of PNG; a palette has one, the index.
const CHANNELS = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };

/// Decodes a PNG of 8 or 16 bits per channel, not interlaced. Palette images give their indices.
export function decodePng(file) {
  if (file.toString("latin1", 1, 4) !== "PNG") throw new Error("not a PNG file");
  const parts = [];
  let header;
  for (let at = 8; at < file.length;) {
    const length = file.readUInt32BE(at), kind = file.toString("latin1", at + 4, at + 8);
    const body = file.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = body;
    if (kind === "IDAT") parts.push(body);
    at += 12 + length;
  }
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const [depth, color, interlaced] = [header[8], header[9], header[12]];
  if (![8, 16].includes(depth) || interlaced)
    throw new Error(`${depth} bits per channel, interlaced: ${interlaced}; convert it to 8 or 16 bits, not interlaced`);
  const channels = CHANNELS[color], pixel = channels * (depth / 8), stride = width * pixel;
  const bytes = unfilter(zlib.inflateSync(Buffer.concat(parts)), height, stride, pixel);
  const count = height * width * channels;
  const values = depth === 8 ? bytes : Uint16Array.from({ length: count }, (_, i) => bytes.readUInt16BE(2 * i));
  return { height, width, channels, depth, values };
}

/// Reverses the filters of the rows of a PNG.
function unfilter(data, height, stride, pixel) {
  const bytes = Buffer.alloc(height * stride);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)], row = y * stride;
    for (let x = 0; x < stride; x++) {
      const left = x < pixel ? 0 : bytes[row + x - pixel];
      const above = y === 0 ? 0 : bytes[row - stride + x];
      const corner = x < pixel || y === 0 ? 0 : bytes[row - stride + x - pixel];
      const predicted = [0, left, above, (left + above) >> 1, paeth(left, above, corner)][filter];
      bytes[row + x] = data[y * (stride + 1) + 1 + x] + predicted;
    }
  }
  return bytes;
}

function paeth(left, above, corner) {
  const [a, b, c] = [left, above, corner].map(value => Math.abs(left + above - corner - value));
  return a <= b && a <= c ? left : b <= c ? above : corner;
}

/// One map of a room as bytes, and its size.
function convert(file, { type, channels }) {
  const image = decodePng(fs.readFileSync(file));
  if (image.channels < channels || (channels === 3 && image.depth !== 8))
    throw new Error(`${image.channels} channels of ${image.depth} bits; ${channels} of type ${type} are needed`);
  if (type === "uint8" && image.depth === 16 && image.values.some(value => value > 255))
    throw new Error("class ids above 255 are not supported");
  const wide = type === "uint16" ? 2 : 1, area = image.height * image.width;
  const bytes = Buffer.alloc(area * channels * wide);
  for (let i = 0; i < area * channels; i++) {
    // An alpha channel is left out.
    const value = image.values[Math.floor(i / channels) * image.channels + (i % channels)];
    if (wide === 2) bytes.writeUInt16LE(value, 2 * i);
    else bytes[i] = value;
  }
  return { bytes, size: [image.height, image.width] };
}

/// The ids of the rooms: those of val.txt, then the others.
function listRooms(rooms) {
  const folder = path.join(rooms, "rgb");
  if (!fs.existsSync(folder)) throw new Error(`${folder}: no such folder; make rooms with 'multimae synth --out ${rooms} --count 12'`);
  const all = fs.readdirSync(folder).filter(name => name.endsWith(".png")).map(name => name.slice(0, -4)).sort();
  const list = path.join(rooms, "val.txt");
  const listed = fs.existsSync(list) ? fs.readFileSync(list, "utf8").split(/\s+/) : [];
  const first = all.filter(id => listed.includes(id));
  return [...first, ...all.filter(id => !first.includes(id))];
}

function main([rooms, out, count = "8"]) {
  if (!out) throw new Error("usage: node rooms.mjs ROOMS OUT [COUNT]");
  const ids = listRooms(rooms).slice(0, Number(count));
  if (ids.length === 0) throw new Error(`${path.join(rooms, "rgb")}: no PNG files`);
  const maps = FOLDERS.filter(({ folder }) => fs.existsSync(path.join(rooms, folder)));
  fs.mkdirSync(out, { recursive: true });
  let size;
  for (const id of ids) {
    const parts = maps.map(map => {
      const file = path.join(rooms, map.folder, `${id}.png`);
      try {
        const converted = convert(file, map);
        size ??= converted.size;
        if (converted.size.join() !== size.join())
          throw new Error(`${converted.size.join(" x ")} pixels, and other maps have ${size.join(" x ")} (height x width)`);
        return converted.bytes;
      } catch (error) {
        throw new Error(`${file}: ${error.message}`);
      }
    });
    fs.writeFileSync(path.join(out, `${id}.bin`), Buffer.concat(parts));
  }
  const manifest = path.join(rooms, "manifest.json");
  const label_names = fs.existsSync(manifest) ? JSON.parse(fs.readFileSync(manifest, "utf8")).label_names : {};
  const index = {
    height: size[0], width: size[1], rooms: ids, label_names,
    maps: maps.map(({ name, type, channels }) => ({ name, type, channels })),
  };
  fs.writeFileSync(path.join(out, "index.json"), JSON.stringify(index));
  console.log(`${ids.length} rooms with ${maps.map(map => map.name).join(", ")} in ${out}`);
}

try {
  main(process.argv.slice(2));
} catch (error) {
  console.error(`rooms.mjs: ${error.message}`);
  process.exit(1);
}
