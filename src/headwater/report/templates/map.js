// The map page of a basin. BASIN (basin.js) says what there is; tiles and tables come from this folder alone.
"use strict";

const $ = (id) => document.getElementById(id);
const NO_CONFIDENCE = 255;
const network = BASIN.network; // missing where there are no streams

// Colors that readers with any color vision tell apart (Okabe and Ito; cividis), in light and dark.
const COLORS = {
  light: {
    ground: "#eef1f2", casing: "#ffffff", line: "#17222b", lake: "#7fb2d6", selected: "#cc3d8f",
    orders: ["#6aaed6", "#4292c6", "#2171b5", "#125ca4", "#08468b", "#08306b", "#3b0f70", "#5a0f6b", "#1d0a33"],
    source: { backbone: "#0072b2", new: "#d55e00" },
    percent: ["#b8a100", "#8f8a45", "#6b7078", "#3d5a8a", "#00306f"],
  },
  dark: {
    ground: "#14191d", casing: "#0c1114", line: "#e8eef2", lake: "#2c5878", selected: "#ff7ac0",
    orders: ["#3f83b5", "#4f9fd3", "#68b6e4", "#86caf0", "#a4dbf7", "#c3e9fb", "#e4dcff", "#f3e6ff", "#ffffff"],
    source: { backbone: "#5fb8ee", new: "#ff9648" },
    percent: ["#5573b5", "#7f8899", "#a39f85", "#d0bd55", "#ffe945"],
  },
};
const PERCENT_STEPS = [50, 70, 80, 90]; // where the classes of confidence begin, after the lowest
const OVERLAYS = { outline: "Basin outline", cells: "Cells", lakes: "Lakes" };

const state = {
  color: "order", background: BASIN.layers.length ? BASIN.layers[0].name : "plain",
  order: 1, percent: 0, selected: null, theme: null, hidden: ["cells"],
};
let map, index, path = [];
let outletMarker = null;

function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = false;
}

// ---- Start

const onDisk = location.protocol === "file:";

function start() {
  readHash();
  setTheme(state.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
  if (innerWidth <= 640) fold(true);
  buildPanel();
  if (onDisk && !BASIN.embedded) {
    problem(
      "A browser does not let a page from a disk read map tiles of this size. Run  headwater view " +
        "  with the folder of this basin, and open the address that it prints.",
    );
    return;
  }
  if (typeof maplibregl === "undefined" || !hasWebGL()) {
    problem("This browser cannot draw the map: it needs WebGL. The report page, index.html, has pictures instead.");
    return;
  }
  makeMap();
}

function hasWebGL() {
  try {
    const canvas = document.createElement("canvas");
    return Boolean(canvas.getContext("webgl2") || canvas.getContext("webgl"));
  } catch {
    return false;
  }
}

// ---- Map

const archives = new Map();
const EMPTY_IMAGE = () => createImageBitmap(new ImageData(1, 1));

async function tile({ url }) {
  const [, name, zoom, x, y] = url.match(/^basin:\/\/(\w+)\/(\d+)\/(\d+)\/(\d+)$/);
  if (!archives.has(name)) archives.set(name, new TileArchive(`${name}.pmtiles`));
  const bytes = await archives.get(name).tile(Number(zoom), Number(x), Number(y));
  if (bytes) return { data: bytes.slice().buffer };
  return { data: name === "network" ? new ArrayBuffer(0) : await EMPTY_IMAGE() };
}

function makeMap() {
  maplibregl.addProtocol("basin", tile);
  const [west, south, east, north] = BASIN.bounds;
  const wide = innerWidth > 640;
  map = new maplibregl.Map({
    container: "map",
    style: { version: 8, sources: {}, layers: [{ id: "ground", type: "background", paint: { "background-color": colors().ground } }] },
    bounds: [[west, south], [east, north]],
    fitBoundsOptions: { padding: wide ? { left: 330, right: 40, top: 40, bottom: 40 } : { top: 70, bottom: 40, left: 20, right: 20 } },
    minZoom: Math.max(0, network?.first_zoom ?? 0, ...BASIN.layers.map(({ first }) => first)), maxZoom: 18, attributionControl: false, maxPitch: 0, dragRotate: false, pitchWithRotate: false, fadeDuration: 0,
    locale: { "Map.Title": `Map of basin ${BASIN.basin_id}` },
  });
  if (state.view) map.jumpTo({ center: [state.view[2], state.view[1]], zoom: state.view[0] });
  map.touchZoomRotate.disableRotation();
  map.addControl(new maplibregl.NavigationControl({ showCompass: false }), "top-right");
  map.addControl(new WholeBasin(), "top-right");
  map.addControl(new maplibregl.ScaleControl({ maxWidth: 120 }), "bottom-left");
  map.on("error", ({ error }) => problem(`A part of the map cannot be shown: ${error.message}`));
  map.once("load", async () => {
    addSources();
    restyle();
    map.once("idle", () => document.documentElement.setAttribute("data-drawn", Math.round(performance.now())));
    showPosition();
    await readIndex();
    if (state.selected) find(state.selected, !state.view);
  });
  map.on("move", showPosition);
  map.on("moveend", writeHash);
  map.on("mousemove", ({ lngLat, point }) => {
    showPosition(lngLat);
    map.getCanvas().style.cursor = nearest(point, 5) ? "pointer" : "";
  });
  map.on("mouseout", () => showPosition());
  map.on("click", ({ point, originalEvent }) => {
    const touch = originalEvent.pointerType === "touch" || matchMedia("(pointer: coarse)").matches;
    const feature = nearest(point, touch ? 16 : 7);
    if (feature) select(feature.properties.row);
    else deselect();
  });
}

class WholeBasin {
  onAdd() {
    const group = document.createElement("div");
    group.className = "maplibregl-ctrl maplibregl-ctrl-group";
    const button = element("button", "⤢", { type: "button", title: "Show all of the basin", ariaLabel: "Show all of the basin" });
    const [west, south, east, north] = BASIN.bounds;
    button.onclick = () => map.fitBounds([[west, south], [east, north]], { padding: 40 });
    group.append(button);
    return group;
  }
  onRemove() {}
}

function addSources() {
  for (const layer of BASIN.layers) {
    map.addSource(layer.name, {
      type: "raster", tiles: [`basin://${layer.name}/{z}/{x}/{y}`], tileSize: 512, minzoom: layer.first, maxzoom: layer.last,
    });
    map.addLayer({
      id: `background-${layer.name}`, type: "raster", source: layer.name,
      layout: { visibility: "none" }, paint: { "raster-fade-duration": 0 },
    });
  }
  for (const [name, geometry] of Object.entries(BASIN.shapes))
    map.addSource(`shape-${name}`, { type: "geojson", data: { type: "Feature", properties: {}, geometry } });
  if (BASIN.shapes.lakes) map.addLayer({ id: "lakes", type: "fill", source: "shape-lakes", paint: { "fill-opacity": 0.85 } });
  if (BASIN.shapes.cells) map.addLayer({ id: "cells", type: "line", source: "shape-cells", paint: { "line-dasharray": [3, 3], "line-width": 1 } });
  if (BASIN.shapes.outline) map.addLayer({ id: "outline", type: "line", source: "shape-outline", paint: { "line-width": 1.6, "line-opacity": 0.75 } });
  if (!network) return;
  map.addSource("network", {
    type: "vector", tiles: ["basin://network/{z}/{x}/{y}"], minzoom: network.first_zoom, maxzoom: network.last_zoom,
  });
  const round = { "line-cap": "round", "line-join": "round" };
  const line = (id, paint) => map.addLayer({ id, type: "line", source: "network", "source-layer": "waterways", layout: { ...round, "line-sort-key": ["get", "order"] }, paint });
  line("casing", { "line-width": width(1.6), "line-opacity": 0.55 });
  line("streams", { "line-width": width(0) });
  line("path-casing", { "line-width": width(7), "line-opacity": 0.9 });
  line("path", { "line-width": width(3) });
  line("selected", { "line-width": width(6) });
}

// Width by order: thin far out, thicker near, `more` pixels around it.
function width(more) {
  const at = (factor) => ["+", more, ["*", factor, ["+", 0.55, ["*", 0.42, ["min", ["get", "order"], 9]]]]];
  return ["interpolate", ["linear"], ["zoom"], 5, at(0.45), 9, at(0.8), 12, at(1.25), 16, at(3)];
}

const colors = () => COLORS[document.documentElement.dataset.theme];

function lineColor() {
  const { orders, source, percent } = colors();
  if (state.color === "source") return ["case", ["==", ["get", "new"], 1], source.new, source.backbone];
  if (state.color === "percent")
    return ["case", ["==", ["get", "percent"], NO_CONFIDENCE], "#8a8a8a",
      ["step", ["get", "percent"], percent[0], ...PERCENT_STEPS.flatMap((from, i) => [from, percent[i + 1]])]];
  return ["match", ["min", ["get", "order"], orders.length], ...orders.flatMap((color, i) => [i + 1, color]), orders[0]];
}

function restyle() {
  if (!map || !map.getLayer("ground")) return;
  const c = colors();
  map.setPaintProperty("ground", "background-color", c.ground);
  for (const { name } of BASIN.layers) {
    const id = `background-${name}`;
    if (!map.getLayer(id)) return;
    map.setLayoutProperty(id, "visibility", state.background === name ? "visible" : "none");
    const dim = document.documentElement.dataset.theme === "dark" && ["elevation", "hillshade"].includes(name);
    map.setPaintProperty(id, "raster-brightness-max", dim ? 0.5 : 1);
    map.setPaintProperty(id, "raster-saturation", dim ? -0.35 : 0);
  }
  const shown = (id) => map.setLayoutProperty(id, "visibility", state.hidden.includes(id) ? "none" : "visible");
  // Dark lines would be lost on an image in light colors too.
  const ink = state.background === "composite" ? "#ffffff" : c.line;
  if (map.getLayer("lakes")) map.setPaintProperty("lakes", "fill-color", c.lake), shown("lakes");
  for (const id of ["cells", "outline"]) if (map.getLayer(id)) map.setPaintProperty(id, "line-color", ink), shown(id);
  if (!network) return;
  map.setPaintProperty("casing", "line-color", c.casing);
  map.setPaintProperty("streams", "line-color", lineColor());
  const passes = ["all", [">=", ["get", "order"], state.order], [">=", ["get", "percent"], state.percent]];
  map.setFilter("streams", passes);
  map.setFilter("casing", passes);
  const rows = path.length ? ["match", ["get", "row"], path, true, false] : false;
  map.setFilter("path", rows);
  map.setFilter("path-casing", rows);
  map.setFilter("selected", path.length ? ["==", ["get", "row"], path[0]] : false);
  map.setPaintProperty("path-casing", "line-color", c.casing);
  map.setPaintProperty("path", "line-color", c.selected);
  map.setPaintProperty("selected", "line-color", c.selected);
}

// The stream closest to a point of the screen, among those drawn.
function nearest(point, within) {
  if (!network || !map.getLayer("streams")) return null;
  const box = [[point.x - within, point.y - within], [point.x + within, point.y + within]];
  let found = null, least = Infinity;
  for (const feature of map.queryRenderedFeatures(box, { layers: ["streams"] })) {
    const { type, coordinates } = feature.geometry;
    for (const line of type === "MultiLineString" ? coordinates : [coordinates]) {
      const screen = line.map((place) => map.project(place));
      for (let i = 1; i < screen.length; i++) {
        const distance = toSegment(point, screen[i - 1], screen[i]);
        if (distance < least) [found, least] = [feature, distance];
      }
    }
  }
  return found;
}

function toSegment(p, a, b) {
  const [dx, dy] = [b.x - a.x, b.y - a.y];
  const along = Math.max(0, Math.min(1, ((p.x - a.x) * dx + (p.y - a.y) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(p.x - a.x - along * dx, p.y - a.y - along * dy);
}

// ---- Table

async function readIndex() {
  if (!network) return;
  const bytes = (await Parts.unzipped(await Parts.all("index.bin"))).buffer;
  const n = network.rows;
  let place = 0;
  const column = (type) => {
    const values = new type(bytes, place, n);
    place += n * type.BYTES_PER_ELEMENT;
    return values;
  };
  index = {
    id: column(BigInt64Array), next: column(Int32Array), longitude: column(Float32Array), latitude: column(Float32Array),
    meters: column(Float32Array), percent: column(Uint8Array), order: column(Uint8Array), isNew: column(Uint8Array),
  };
  showLegend();
}

function rowOf(id) {
  let low = 0, high = network.rows - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    if (index.id[middle] === id) return middle;
    if (index.id[middle] < id) low = middle + 1;
    else high = middle - 1;
  }
  return null;
}

function downstream(row) {
  const rows = [];
  const seen = new Set();
  for (; row >= 0 && !seen.has(row); row = index.next[row]) {
    seen.add(row);
    rows.push(row);
  }
  return rows;
}

const blocks = new Map();

async function attributes(row) {
  const block = Math.floor(row / network.block_rows);
  if (!blocks.has(block)) {
    const [from, to] = [network.block_starts[block], network.block_starts[block + 1]];
    blocks.set(block, Parts.part("attributes.bin", from, to - from).then(Parts.unzipped)
      .then((bytes) => JSON.parse(new TextDecoder().decode(bytes))));
  }
  const values = (await blocks.get(block))[row % network.block_rows];
  return Object.fromEntries(network.names.map((name, i) => [name, values[i]]));
}

// ---- Selection

async function select(row) {
  if (!index) return;
  path = downstream(row);
  const values = await attributes(row);
  state.selected = values.stream_id;
  restyle();
  showDetails(values);
  outletMarker?.remove();
  const last = path[path.length - 1];
  outletMarker = new maplibregl.Marker({ element: element("div", "", { className: "outlet", title: "Outlet of the marked path" }) })
    .setLngLat(lowerEnd(last)).addTo(map);
  writeHash();
}

const lowerEnd = (row) => [index.longitude[row], index.latitude[row]];

function deselect() {
  path = [];
  state.selected = null;
  outletMarker?.remove();
  $("details").hidden = true;
  restyle();
  writeHash();
}

function find(text, fly = true) {
  const note = $("search-note");
  note.textContent = "";
  if (!network) return (note.textContent = "This basin has no streams.");
  if (!index) return (note.textContent = "The list of streams is still being read.");
  if (!/^-?\d{1,18}$/.test(text.trim())) return (note.textContent = "A stream_id is a whole number.");
  const row = rowOf(BigInt(text.trim()));
  if (row === null) return (note.textContent = `There is no stream ${text.trim()} in this basin.`);
  if (fly) map.jumpTo({ center: lowerEnd(row), zoom: Math.max(map.getZoom(), 13) });
  select(row);
}

// ---- Panel

function element(tag, text = "", properties = {}) {
  const made = Object.assign(document.createElement(tag), properties);
  if (text !== "") made.textContent = text;
  return made;
}

const number = (value, digits = 0) => value.toLocaleString("en-US", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const km = (meters) => `${number(meters / 1000, meters < 1e5 ? 1 : 0)} km`;

function choices(place, key, options) {
  for (const [value, title] of options) {
    const label = element("label");
    const input = element("input", "", { type: "radio", name: key, value, checked: state[key] === value });
    input.onchange = () => change({ [key]: value });
    label.append(input, element("span", title));
    $(place).append(label);
  }
}

function change(values) {
  Object.assign(state, values);
  restyle();
  showLegend();
  writeHash();
}

function buildPanel() {
  const known = network ? [["order", "Order"], ["source", "Source"], ["percent", network.confidence === "confidence" ? "Confidence" : "Probability"]] : [];
  choices("color-choices", "color", known);
  choices("background-choices", "background", [...BASIN.layers.map(({ name, title }) => [name, title]), ["plain", "None"]]);
  for (const [name, title] of Object.entries(OVERLAYS).filter(([name]) => BASIN.shapes[name])) {
    const label = element("label");
    const input = element("input", "", { type: "checkbox", checked: !state.hidden.includes(name) });
    input.onchange = () => change({ hidden: input.checked ? state.hidden.filter((each) => each !== name) : [...state.hidden, name] });
    label.append(input, title);
    $("overlay-choices").append(label);
  }
  if (!network) {
    $("facts").textContent = "This basin has no streams.";
    for (const id of ["search", "order", "percent"]) $(id).closest("form, label").hidden = true;
    $("color-choices").parentElement.hidden = true;
  } else {
    $("order").max = network.highest_order;
    $("percent-label").firstChild.textContent = network.confidence === "confidence" ? "Confidence from " : "Mean probability from ";
    for (const key of ["order", "percent"]) {
      $(key).value = state[key];
      $(key).oninput = () => change({ [key]: Number($(key).value) });
    }
    $("facts").textContent = `${number(network.rows)} segments`;
  }
  $("search").onsubmit = (event) => {
    event.preventDefault();
    find($("search-text").value);
  };
  $("theme").onclick = () => {
    setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    state.theme = document.documentElement.dataset.theme;
    change({});
  };
  $("fold").onclick = () => fold(!$("panel").classList.contains("folded"));
  addEventListener("keydown", (event) => {
    if (event.key === "Escape") deselect();
    if (event.key === "/" && event.target.tagName !== "INPUT") {
      event.preventDefault();
      fold(false);
      $("search-text").focus();
    }
  });
  addEventListener("hashchange", () => location.reload());
  showLegend();
  showAbout();
}

function fold(folded) {
  $("panel").classList.toggle("folded", folded);
  $("fold").setAttribute("aria-expanded", String(!folded));
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

function showLegend() {
  showBackgroundLegend();
  if (!network) return;
  $("order-value").textContent = state.order;
  $("percent-value").textContent = network.confidence === "confidence" ? `${state.percent} %` : (state.percent / 100).toFixed(2);
  const c = colors();
  const classes = {
    order: c.orders.slice(0, network.highest_order).map((color, i) => [`Order ${i + 1}${i === 8 ? " and more" : ""}`, color, i + 1]),
    source: [["Backbone", c.source.backbone, 4], ["New, from imagery", c.source.new, 4]],
    percent: [...[0, ...PERCENT_STEPS].map((from, i) => [`${percentText(from)} to ${percentText(PERCENT_STEPS[i] ?? 100)}`, c.percent[i], 4]), ["Unknown", "#8a8a8a", 4]],
  }[state.color];
  const sums = new Float64Array(classes.length);
  let shown = 0, all = 0;
  for (let row = 0; index && row < network.rows; row++) {
    all += index.meters[row];
    if (index.order[row] < state.order || index.percent[row] < state.percent) continue;
    shown += index.meters[row];
    sums[classOf(row)] += index.meters[row];
  }
  $("legend").replaceChildren(...classes.flatMap(([title, color, order], i) => {
    if (index && sums[i] === 0) return [];
    const item = element("li");
    const line = element("i");
    line.style.cssText = `background:${color};height:${1.2 + 0.75 * Math.min(order, 9)}px`;
    item.append(line, title, element("b", index ? km(sums[i]) : ""));
    return [item];
  }));
  if (!index) return;
  const sum = element("li", shown < all ? "Shown, of " + km(all) : "All", { className: "sum" });
  sum.append(element("b", km(shown)));
  $("legend").append(sum);
  $("facts").textContent = `${number(network.rows)} segments, ${km(all)}`;
}

const percentText = (value) => (network.confidence === "confidence" ? `${value} %` : (value / 100).toFixed(1));

function classOf(row) {
  if (state.color === "source") return index.isNew[row];
  if (state.color === "order") return Math.min(index.order[row], colors().orders.length) - 1;
  if (index.percent[row] === NO_CONFIDENCE) return PERCENT_STEPS.length + 1;
  return PERCENT_STEPS.filter((from) => index.percent[row] >= from).length;
}

function showBackgroundLegend() {
  const legend = BASIN.layers.find(({ name }) => name === state.background)?.legend;
  $("background-legend").replaceChildren();
  if (!legend) return;
  const ramp = element("div", "", { className: "ramp" });
  ramp.style.background = `linear-gradient(to right, ${legend.colors.join(", ")})`;
  const ends = element("div", "", { className: "ends" });
  const digits = legend.high - legend.low < 10 && !Number.isInteger(legend.high) ? 1 : 0;
  ends.append(element("span", number(legend.low, digits)), element("span", legend.unit), element("span", number(legend.high, digits)));
  $("background-legend").append(ramp, ends);
}

function showDetails(values) {
  const box = $("details");
  const header = element("header");
  const close = element("button", "✕", { type: "button", ariaLabel: "Close", title: "Close (Esc)" });
  close.onclick = deselect;
  header.append(element("h2", `Stream ${values.stream_id}`), close);
  const meters = path.reduce((sum, row) => sum + index.meters[row], 0);
  const outlet = index.id[path[path.length - 1]];
  const way = element("p", path.length > 1 ? `${km(meters)} over ${number(path.length)} segments to the outlet ` : "It ends at an outlet, ");
  way.append(idLink(outlet.toString()), ".");
  const table = element("table");
  for (const [name, value] of Object.entries(values)) {
    const row = element("tr");
    const head = element("th");
    const described = BASIN.columns[name];
    head.append(described ? element("abbr", name, { title: described.meaning }) : name);
    row.append(head, cell(name, value, described?.unit ?? ""));
    table.append(row);
  }
  const steps = element("div", "", { className: "steps" });
  const zoomTo = element("button", "Zoom to it", { type: "button" });
  zoomTo.onclick = () => map.flyTo({ center: lowerEnd(path[0]), zoom: Math.max(map.getZoom(), 14), animate: !matchMedia("(prefers-reduced-motion: reduce)").matches });
  const whole = element("button", "Show the path", { type: "button" });
  whole.onclick = () => {
    const bounds = new maplibregl.LngLatBounds();
    path.forEach((row) => bounds.extend(lowerEnd(row)));
    map.fitBounds(bounds, { padding: 70, maxZoom: 15 });
  };
  steps.append(zoomTo, whole);
  box.replaceChildren(header, way, steps, table);
  box.hidden = false;
}

const UNITS = { km2: "km²", m2: "m²" };

function cell(name, value, unit) {
  const made = element("td");
  const isId = name.endsWith("stream_id") && !name.startsWith("tdx");
  if (value === null) made.textContent = "unknown";
  else if (Array.isArray(value)) value.length ? value.forEach((id, i) => made.append(i ? element("br") : "", idLink(id))) : (made.textContent = "none");
  else if (isId && value !== "-1") made.append(idLink(value));
  else if (isId) made.textContent = "none: an outlet";
  else if (typeof value === "boolean") made.textContent = value ? "yes" : "no";
  else if (typeof value === "number" && unit) made.textContent = `${number(value, unit === "m/m" ? 5 : value >= 100 ? 0 : 2)} ${UNITS[unit] ?? unit}`;
  else if (typeof value === "number" && !Number.isInteger(value)) made.textContent = number(value, 3);
  else made.textContent = String(value);
  if (typeof value === "number") made.title = String(value);
  return made;
}

function idLink(id) {
  const link = element("button", id, { type: "button", className: "link", title: "Show this stream" });
  link.onclick = () => find(id);
  return link;
}

function showAbout() {
  const about = $("about");
  for (const note of BASIN.notes) about.append(element("p", note));
  for (const [name, text] of Object.entries(BASIN.terms)) about.append(element("p", `${name}: ${text}`));
  about.append(element("p", "Contains modified Copernicus Sentinel data. Copernicus DEM © DLR e.V. 2010-2014 and © Airbus Defence and Space GmbH 2014-2018, provided under COPERNICUS by the European Union and ESA; all rights reserved."));
  const links = element("p");
  links.append(element("a", "Report", { href: "index.html" }), " · ", element("a", "Columns (GeoParquet)", { href: "../waterways.parquet" }),
    " · ", element("a", "License of the map library", { href: "map/maplibre-gl-license.txt" }));
  about.append(links, element("p", "Keys: arrows move, + and - zoom, / finds, Esc clears."));
}

function showPosition(place) {
  const { lng, lat } = (place?.lng === undefined ? map.getCenter() : place).wrap();
  const text = (value, [positive, negative]) => `${Math.abs(value).toFixed(5)}° ${value < 0 ? negative : positive}`;
  $("position").textContent = `${text(lat, "NS")}, ${text(lng, "EW")}`;
}

// ---- Address: what is shown, so that a copied address shows the same

function writeHash() {
  if (!map) return;
  const { lng, lat } = map.getCenter();
  const parts = [`map=${map.getZoom().toFixed(2)}/${lat.toFixed(5)}/${lng.toFixed(5)}`, `color=${state.color}`, `background=${state.background}`];
  if (state.order > 1) parts.push(`order=${state.order}`);
  if (state.percent > 0) parts.push(`percent=${state.percent}`);
  if (state.selected) parts.push(`id=${state.selected}`);
  if (state.theme) parts.push(`theme=${state.theme}`);
  const shown = Object.keys(OVERLAYS).filter((name) => !state.hidden.includes(name));
  parts.push(`show=${shown.join(",")}`);
  history.replaceState(null, "", `#${parts.join("&")}`);
}

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  const view = (given.get("map") ?? "").split("/").map(Number);
  if (view.length === 3 && view.every(Number.isFinite) && Math.abs(view[1]) <= 90) state.view = view;
  const one = (key, known) => known.includes(given.get(key)) && (state[key] = given.get(key));
  one("color", ["order", "source", "percent"]);
  one("background", [...BASIN.layers.map(({ name }) => name), "plain"]);
  one("theme", ["light", "dark"]);
  const whole = (key, most) => /^\d{1,3}$/.test(given.get(key) ?? "") && (state[key] = Math.min(Number(given.get(key)), most));
  whole("order", network?.highest_order ?? 1);
  whole("percent", 100);
  if (/^-?\d{1,18}$/.test(given.get("id") ?? "")) state.selected = given.get("id");
  if (given.has("show")) state.hidden = Object.keys(OVERLAYS).filter((name) => !given.get("show").split(",").includes(name));
}

// Pages from a disk read what they need from a script; others read parts of files.
if (onDisk && BASIN.embedded) {
  const script = element("script", "", { src: "map/embedded.js" });
  script.onload = start;
  script.onerror = () => problem("The file map/embedded.js is missing: make the report again.");
  document.head.append(script);
} else start();
