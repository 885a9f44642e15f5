// Reads tiles from PMTiles files, version 3 (protomaps/PMTiles, spec/v3/spec.md), and parts of any file of this folder.
"use strict";

const Parts = (() => {
  const folder = "map/";
  const whole = new Map(); // files that are in memory: embedded ones, and those of servers without ranges

  function decoded(base64) {
    const text = atob(base64);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  async function part(name, start, length) {
    if (!whole.has(name) && typeof EMBEDDED !== "undefined" && EMBEDDED[name]) whole.set(name, decoded(EMBEDDED[name]));
    if (whole.has(name)) return whole.get(name).subarray(start, start + length);
    const reply = await fetch(folder + name, { headers: { Range: `bytes=${start}-${start + length - 1}` } });
    if (!reply.ok) throw new Error(`${name} cannot be read (${reply.status}).`);
    const bytes = new Uint8Array(await reply.arrayBuffer());
    if (reply.status === 206) return bytes;
    whole.set(name, bytes);
    return bytes.subarray(start, start + length);
  }

  async function all(name) {
    if (typeof EMBEDDED !== "undefined" && EMBEDDED[name]) return decoded(EMBEDDED[name]);
    const reply = await fetch(folder + name);
    if (!reply.ok) throw new Error(`${name} cannot be read (${reply.status}).`);
    return new Uint8Array(await reply.arrayBuffer());
  }

  async function unzipped(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  return { part, all, unzipped };
})();

class TileArchive {
  constructor(name) {
    this.name = name;
    this.directories = new Map();
    this.header = null;
  }

  // The bytes of a tile, or null where the file has none.
  async tile(zoom, x, y) {
    this.header ??= this.readHeader();
    const header = await this.header;
    const number = tileNumber(zoom, x, y);
    let directory = await this.directory(header.root, header.rootLength);
    for (let depth = 0; depth < 4; depth++) {
      const entry = entryOf(directory, number);
      if (!entry) return null;
      if (entry.run > 0) {
        const bytes = await Parts.part(this.name, header.data + entry.offset, entry.length);
        return header.gzipped ? Parts.unzipped(bytes) : bytes;
      }
      directory = await this.directory(header.leaves + entry.offset, entry.length);
    }
    return null;
  }

  async readHeader() {
    const bytes = await Parts.part(this.name, 0, 127);
    if (new TextDecoder().decode(bytes.subarray(0, 7)) !== "PMTiles" || bytes[7] !== 3)
      throw new Error(`${this.name} is no PMTiles file of version 3.`);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    const number = (place) => Number(view.getBigUint64(place, true));
    return { root: number(8), rootLength: number(16), leaves: number(40), data: number(56), gzipped: bytes[98] === 2 };
  }

  directory(start, length) {
    if (!this.directories.has(start))
      this.directories.set(start, Parts.part(this.name, start, length).then(Parts.unzipped).then(entries));
    return this.directories.get(start);
  }
}

// The entries of a directory: tile number, offset, length and how many tiles they are for (0: a further directory).
function entries(bytes) {
  let place = 0;
  const next = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes[place++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  const found = Array.from({ length: next() }, () => ({}));
  let number = 0;
  for (const entry of found) entry.number = number += next();
  for (const entry of found) entry.run = next();
  for (const entry of found) entry.length = next();
  found.forEach((entry, i) => {
    const offset = next();
    entry.offset = offset === 0 ? found[i - 1].offset + found[i - 1].length : offset - 1;
  });
  return found;
}

function entryOf(directory, number) {
  let low = 0;
  let high = directory.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (directory[middle].number <= number) low = middle + 1;
    else high = middle - 1;
  }
  const entry = directory[high];
  return entry && (entry.run === 0 || number < entry.number + entry.run) ? entry : null;
}

// The place of a tile along the Hilbert curve of its zoom, after all tiles of the zooms before.
function tileNumber(zoom, x, y) {
  let number = (4 ** zoom - 1) / 3;
  for (let half = 2 ** zoom / 2; half >= 1; half /= 2) {
    const right = (x & half) > 0 ? 1 : 0;
    const low = (y & half) > 0 ? 1 : 0;
    number += half * half * ((3 * right) ^ low);
    if (low === 0) {
      if (right) {
        x = half - 1 - (x & (half - 1));
        y = half - 1 - (y & (half - 1));
      }
      [x, y] = [y, x];
    }
  }
  return number;
}
