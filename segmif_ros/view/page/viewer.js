// SPDX-License-Identifier: Apache-2.0
// The viewer of `segmif view` and of report.html: four panes, one cursor, classes that can be hidden.
// Frames come from the page itself (a JSON block, report.html) or from the local server.
"use strict";

(() => {
  const UNLABELLED = 255;
  const KINDS = ["visible", "thermal", "fused", "mask", "confidence", "raw", "heat", "place"];
  const LAYERS = ["overlay", "visible", "thermal", "mask", "confidence"];
  const REPORT_GAP_MS = 900;
  const SLOWEST_GAP_MS = 2000;

  const byId = (name) => document.getElementById(`viewer-${name}`);
  const root = document.getElementById("viewer");
  const panes = new Map([...root.querySelectorAll(".pane")].map((pane) => [pane.dataset.pane, pane]));
  const canvasOf = (name) => panes.get(name).querySelector("canvas");

  // ---- where frames come from -------------------------------------------------------------------

  function embedded(block) {
    const data = JSON.parse(block.textContent);
    return {
      info: { ...data, count: data.frames.length, live: false },
      frame: async (index) => data.frames[index],
      gapMs: () => REPORT_GAP_MS,
    };
  }

  async function fetched(path) {
    const answer = await fetch(path, { cache: "no-store" });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error || `${answer.status} for ${path}`);
    return body;
  }

  async function served() {
    const info = await fetched("/api/info");
    return {
      info,
      frame: (index) => fetched(`/api/frame/${index}`),
      newest: (after) => fetched(`/api/newest?after=${after}`),
      gapMs: (from, to) => Math.min(SLOWEST_GAP_MS, Math.max(0, 1000 * (to.time_s - from.time_s))),
    };
  }

  // ---- pictures ---------------------------------------------------------------------------------

  function picture(address) {
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => reject(new Error("a picture of this frame cannot be read"));
      image.src = address;
    });
  }

  /** The grey values of a PNG: class ids or confidences, one byte a pixel. */
  function bytes(image, width, height) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, 0, width, height);
    const rgba = context.getImageData(0, 0, width, height).data;
    const grey = new Uint8Array(width * height);
    for (let i = 0; i < grey.length; i += 1) grey[i] = rgba[4 * i];
    return grey;
  }

  async function decoded(entry) {
    const named = KINDS.filter((kind) => entry.images[kind]);
    const images = await Promise.all(named.map((kind) => picture(entry.images[kind])));
    const frame = { entry, pictures: Object.fromEntries(named.map((kind, i) => [kind, images[i]])) };
    const first = frame.pictures.mask || images[0];
    [frame.width, frame.height] = [first.naturalWidth, first.naturalHeight];
    for (const kind of ["mask", "confidence"]) {
      if (frame.pictures[kind]) frame[kind] = bytes(frame.pictures[kind], frame.width, frame.height);
    }
    return frame;
  }

  // ---- state ------------------------------------------------------------------------------------

  const state = {
    source: null, frame: null, index: 0, wanted: null, showing: null, playing: false, plays: 0,
    wipe: 0, blend: false, layer: "overlay", alpha: 0.55, floor: 0,
    hidden: new Set(), cursor: null, zoom: 1,
  };
  const colors = new Uint8Array(3 * 256);
  const names = new Map([[UNLABELLED, "unlabelled"]]);
  const rows = new Map();
  const outlined = new Set();

  function say(text, failed = false) {
    const status = byId("status");
    if (status.textContent !== text) status.textContent = text;
    status.classList.toggle("failed", failed);
  }

  // ---- drawing ----------------------------------------------------------------------------------

  function prepared(name) {
    const canvas = canvasOf(name);
    const { width, height } = state.frame;
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.globalAlpha = 1;
    context.clearRect(0, 0, width, height);
    return context;
  }

  function drawPlain(name) {
    const context = prepared(name);
    const image = state.frame.pictures[name];
    if (image) context.drawImage(image, 0, 0, state.frame.width, state.frame.height);
  }

  function drawFused() {
    const { width, height, pictures } = state.frame;
    const context = prepared("fused");
    if (pictures.fused) context.drawImage(pictures.fused, 0, 0, width, height);
    if (!pictures.visible || state.wipe === 0) return;
    if (state.blend) {
      context.globalAlpha = state.wipe / 100;
      context.drawImage(pictures.visible, 0, 0, width, height);
      context.globalAlpha = 1;
      return;
    }
    const edge = Math.round((width * state.wipe) / 100);
    context.save();
    context.beginPath();
    context.rect(0, 0, edge, height);
    context.clip();
    context.drawImage(pictures.visible, 0, 0, width, height);
    context.restore();
    if (edge < width) {
      context.fillStyle = "#ffffff";
      context.fillRect(edge, 0, Math.max(1, Math.round(width / 320)), height);
    }
  }

  /** A white line around people, as in the node's overlay. */
  function outline(rgba, shown) {
    const { width, height, mask } = state.frame;
    for (let i = 0; i < mask.length; i += 1) {
      const id = mask[i];
      if (!outlined.has(id) || !shown[id]) continue;
      const x = i % width;
      for (const j of [x > 0 ? i - 1 : i, x < width - 1 ? i + 1 : i, i - width, i + width]) {
        if (j >= 0 && j < width * height && mask[j] !== id && mask[j] !== UNLABELLED) rgba.fill(255, 4 * j, 4 * j + 4);
      }
    }
  }

  /** Class colours of the pixels that are to be seen, transparent elsewhere. */
  function colored() {
    const { width, height, mask, confidence } = state.frame;
    const shown = new Uint8Array(256);
    for (const id of rows.keys()) shown[id] = state.hidden.has(id) ? 0 : 1;
    const floor = Math.round(2.55 * state.floor);
    const image = new ImageData(width, height);
    const rgba = image.data;
    for (let i = 0; i < mask.length; i += 1) {
      const id = mask[i];
      if (!shown[id] || (confidence && confidence[i] < floor)) continue;
      rgba[4 * i] = colors[3 * id];
      rgba[4 * i + 1] = colors[3 * id + 1];
      rgba[4 * i + 2] = colors[3 * id + 2];
      rgba[4 * i + 3] = 255;
    }
    outline(rgba, shown);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    canvas.getContext("2d").putImageData(image, 0, 0);
    return canvas;
  }

  function drawClasses() {
    const { width, height, pictures, mask } = state.frame;
    const context = prepared("classes");
    const base = state.layer === "overlay" ? "fused" : state.layer;
    if (state.layer !== "mask" && pictures[base]) context.drawImage(pictures[base], 0, 0, width, height);
    if (!mask || state.layer === "confidence") return;
    context.globalAlpha = state.layer === "mask" ? 1 : state.alpha;
    context.drawImage(colored(), 0, 0);
    context.globalAlpha = 1;
  }

  function draw() {
    if (!state.frame) return;
    drawPlain("visible");
    drawPlain("thermal");
    drawPicked();
    drawFused();
    drawClasses();
    readOut();
  }

  // ---- points for a calibration -----------------------------------------------------------------

  /** Pairs of [thermal x, y, visible x, y]; (0, 0) is the centre of the upper left pixel. */
  const pick = { on: false, thermal: null, pairs: [] };

  function drawPicked() {
    if (!pick.on) return;
    const { raw, thermal } = state.frame.pictures;
    const shown = raw || thermal;
    const canvas = canvasOf("thermal");
    if (shown) {
      [canvas.width, canvas.height] = [shown.naturalWidth, shown.naturalHeight];
      canvas.getContext("2d").drawImage(shown, 0, 0);
    }
    const spots = pick.pairs.concat(pick.thermal ? [[...pick.thermal, null, null]] : []);
    spots.forEach(([tx, ty, x, y], number) => {
      mark(canvas, tx, ty, number + 1);
      if (x !== null) mark(canvasOf("visible"), x, y, number + 1);
    });
  }

  function mark(canvas, x, y, number) {
    const context = canvas.getContext("2d");
    const size = Math.max(4, canvas.width / 100);
    context.lineWidth = Math.max(1, canvas.width / 400);
    context.font = `${3 * size}px sans-serif`;
    for (const [color, by] of [["#000000", 1], ["#ffd23f", 0]]) {
      context.strokeStyle = context.fillStyle = color;
      context.beginPath();
      context.arc(x + 0.5 + by, y + 0.5 + by, size, 0, 2 * Math.PI);
      context.stroke();
      context.fillText(String(number), x + 1.5 * size + by, y - size + by);
    }
  }

  /** A click or move in pick mode; the coordinates are those of the camera's own picture. */
  function pickAt(event) {
    const canvas = event.currentTarget;
    const name = canvas.closest(".pane").dataset.pane;
    if (!["thermal", "visible"].includes(name) || !state.frame) return;
    const box = canvas.getBoundingClientRect();
    const place = [
      ((event.clientX - box.left) * canvas.width) / box.width - 0.5,
      ((event.clientY - box.top) * canvas.height) / box.height - 0.5,
    ].map((value) => Math.round(10 * value) / 10);
    const camera = name === "thermal" ? "raw thermal" : "visible";
    byId("readout").textContent = `${camera} x ${place[0]}, y ${place[1]} of ${canvas.width}x${canvas.height}`;
    if (event.type !== "pointerdown") return;
    if (name === "thermal") pick.thermal = place;
    else if (pick.thermal) {
      pick.pairs.push([...pick.thermal, ...place]);
      pick.thermal = null;
    }
    listPicked();
  }

  function listPicked() {
    const { raw, thermal } = state.frame.pictures;
    const own = raw || thermal;
    const sizes = `--rgb-size ${state.frame.width}x${state.frame.height} --thermal-size ${own.naturalWidth}x${own.naturalHeight}`;
    byId("point-list").value = [
      "# thermal x, y, RGB x, y; keep as points.txt, then:",
      `# segmif calibrate points --points points.txt ${sizes} --out rig.yaml`,
      ...pick.pairs.map((pair) => pair.join(", ")),
    ].join("\n");
    draw();
  }

  function setPicking(on) {
    pick.on = on;
    pick.thermal = null;
    byId("pick").setAttribute("aria-pressed", String(on));
    byId("points").hidden = !on;
    byId("panes").classList.remove("pointed");
    if (!state.frame) return;
    if (on) listPicked();
    else draw();
  }

  // ---- cursor -----------------------------------------------------------------------------------

  function valuesUnder(kind, x, y) {
    const image = state.frame.pictures[kind];
    if (!image) return null;
    const key = `${kind}Values`;
    if (!state.frame[key]) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [state.frame.width, state.frame.height];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      state.frame[key] = context;
    }
    return state.frame[key].getImageData(x, y, 1, 1).data;
  }

  function coded(kind) {
    const image = state.frame.pictures[kind];
    if (!image) return null;
    const key = `${kind}Coded`;
    if (!state.frame[key]) {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      state.frame[key] = context;
    }
    return state.frame[key];
  }

  /** The pixel of the thermal camera that lies there, and its value; null outside its view. */
  function heatUnder(x, y) {
    const heat = coded("heat");
    if (!heat) return null;
    let [u, v] = [
      Math.floor(((x + 0.5) * heat.canvas.width) / state.frame.width),
      Math.floor(((y + 0.5) * heat.canvas.height) / state.frame.height),
    ];
    const place = coded("place");
    if (place) {
      const [r, g, b] = place.getImageData(x, y, 1, 1).data;
      if (r === 255 && g === 255 && b === 255) return null;
      [u, v] = [(r << 4) | (g >> 4), ((g & 15) << 8) | b];
    }
    const [high, low, known] = heat.getImageData(u, v, 1, 1).data;
    const { unit, low: least, step } = state.frame.entry.heat;
    return { u, v, unit, value: known ? least + step * (256 * high + low) : null };
  }

  function readOut() {
    if (pick.on) return;
    const holder = byId("panes");
    const inside = state.cursor && state.frame
      && state.cursor.x < state.frame.width && state.cursor.y < state.frame.height;
    holder.classList.toggle("pointed", Boolean(inside));
    if (!inside) return;
    const { x, y } = state.cursor;
    const { width, height, mask, confidence } = state.frame;
    const at = y * width + x;
    const readout = byId("readout");
    const heat = heatUnder(x, y);
    const onThermal = state.cursor.pane === "thermal" && heat;
    const parts = [onThermal ? `thermal x ${heat.u}, y ${heat.v}` : `x ${x}, y ${y}`];
    if (heat && heat.value !== null) {
      parts.push(heat.unit === "C" ? `${heat.value.toFixed(1)} °C` : `${heat.value} counts`);
    }
    readout.dataset.heat = heat && heat.value !== null ? heat.value : "";
    readout.replaceChildren();
    if (mask) {
      const name = document.createElement("b");
      name.textContent = names.get(mask[at]) || "not in the model's list";
      readout.append(name, ` (id ${mask[at]})`);
      readout.dataset.id = mask[at];
    }
    if (confidence) {
      parts.unshift(`confidence ${((100 * confidence[at]) / 255).toFixed(1)} %`);
      readout.dataset.confidence = confidence[at];
    }
    const thermal = valuesUnder("thermal", x, y);
    if (thermal) parts.push(`thermal ${thermal[0]}`);
    const visible = valuesUnder("visible", x, y);
    if (visible) parts.push(`RGB ${visible[0]} ${visible[1]} ${visible[2]}`);
    readout.append(`${mask ? ", " : ""}${parts.join(", ")}`);
    for (const pane of panes.values()) {
      pane.querySelector(".cross-x").style.left = `${(100 * (x + 0.5)) / width}%`;
      pane.querySelector(".cross-y").style.top = `${(100 * (y + 0.5)) / height}%`;
    }
  }

  function point(x, y, spoken, pane) {
    if (!state.frame) return;
    const clamp = (value, end) => Math.min(end - 1, Math.max(0, value));
    state.cursor = { x: clamp(x, state.frame.width), y: clamp(y, state.frame.height), pane };
    byId("readout").setAttribute("aria-live", spoken ? "polite" : "off");
    readOut();
  }

  function pointAt(event) {
    if (pick.on) {
      pickAt(event);
      return;
    }
    const box = event.currentTarget.getBoundingClientRect();
    if (!state.frame || !box.width) return;
    const x = Math.floor(((event.clientX - box.left) * state.frame.width) / box.width);
    const y = Math.floor(((event.clientY - box.top) * state.frame.height) / box.height);
    point(x, y, false, event.currentTarget.closest(".pane").dataset.pane);
    if (event.buttons & 1 && event.currentTarget === canvasOf("fused")) {
      setWipe((100 * (event.clientX - box.left)) / box.width);
    }
  }

  // ---- controls ---------------------------------------------------------------------------------

  function setWipe(value) {
    state.wipe = Math.min(100, Math.max(0, Math.round(value)));
    byId("wipe").value = state.wipe;
    if (state.frame) drawFused();
  }

  /** Zoom all panes alike; what lies under the cursor stays there. */
  function setZoom(zoom) {
    state.zoom = Math.min(8, Math.max(1, zoom));
    byId("zoom").value = state.zoom;
    root.style.setProperty("--zoom", state.zoom);
    root.classList.toggle("zoomed", state.zoom > 1);
    const { width, height } = state.frame || { width: 1, height: 1 };
    const { x, y } = state.cursor || { x: width / 2, y: height / 2 };
    for (const pane of panes.values()) {
      const { style } = pane.querySelector(".layer");
      style.transformOrigin = `${(100 * (x + 0.5)) / width}% ${(100 * (y + 0.5)) / height}%`;
      style.transform = state.zoom > 1 ? `scale(${state.zoom})` : "";
    }
  }

  function setLayer(layer) {
    state.layer = layer;
    byId("layer").value = layer;
    if (state.frame) drawClasses();
  }

  function showClass(id, shown) {
    if (shown) state.hidden.delete(id);
    else state.hidden.add(id);
    rows.get(id).box.checked = shown;
  }

  function listClasses(classes) {
    for (const { id, name, color, outlined: lined } of classes) {
      names.set(id, name);
      if (lined) outlined.add(id);
      colors.set(color, 3 * id);
      const [item, label, box, swatch, text, share] = ["li", "label", "input", "span", "span", "span"]
        .map((tag) => document.createElement(tag));
      Object.assign(box, { type: "checkbox", checked: true });
      box.dataset.id = id;
      swatch.className = "swatch";
      swatch.style.backgroundColor = `rgb(${color.join(",")})`;
      text.textContent = name;
      share.className = "share";
      box.addEventListener("change", () => { showClass(id, box.checked); if (state.frame) drawClasses(); });
      label.append(box, swatch, text, share);
      item.append(label);
      byId("classes").append(item);
      rows.set(id, { item, box, share });
    }
  }

  function showShares() {
    const { mask } = state.frame;
    const counts = new Uint32Array(256);
    if (mask) for (let i = 0; i < mask.length; i += 1) counts[mask[i]] += 1;
    for (const [id, row] of rows) {
      const share = mask ? (100 * counts[id]) / mask.length : 0;
      row.item.classList.toggle("absent", share === 0);
      row.share.textContent = share === 0 ? "" : share < 0.1 ? "<0.1 %" : `${share.toFixed(1)} %`;
    }
  }

  function enlarge(name) {
    for (const [other, pane] of panes) {
      const large = other === name && !pane.classList.contains("large");
      pane.classList.toggle("large", large);
      pane.querySelector(".enlarge").setAttribute("aria-pressed", String(large));
    }
  }

  // ---- frames -----------------------------------------------------------------------------------

  function adopt(frame) {
    state.frame = frame;
    const { entry } = frame;
    byId("caption").textContent = entry.caption || "";
    showShares();
    draw();
  }

  function position() {
    const { count } = state.source.info;
    byId("scrub").value = state.index;
    byId("scrub").setAttribute("aria-valuetext", `frame ${state.index + 1} of ${count}`);
    byId("position").textContent = `${state.index + 1} / ${count}`;
  }

  async function show(index) {
    const slow = setTimeout(() => say("computing this frame"), 400);
    try {
      adopt(await decoded(await state.source.frame(index)));
      say("");
    } catch (error) {
      say(`frame ${index + 1}: ${error.message}`, true);
    } finally {
      clearTimeout(slow);
    }
  }

  /** Show a frame. One is computed at a time: of those asked for meanwhile, only the last one. */
  function go(index) {
    state.index = Math.min(state.source.info.count - 1, Math.max(0, index));
    state.wanted = state.index;
    position();
    state.showing = state.showing || (async () => {
      while (state.wanted !== null) {
        const next = state.wanted;
        state.wanted = null;
        await show(next);
      }
      state.showing = null;
    })();
    return state.showing;
  }

  const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

  async function play() {
    const own = (state.plays += 1);
    while (state.playing && own === state.plays) {
      if (state.index + 1 >= state.source.info.count) { setPlaying(false); return; }
      const started = performance.now();
      const before = state.frame && state.frame.entry;
      await go(state.index + 1);
      const after = state.frame && state.frame.entry;
      const gap = before && after ? state.source.gapMs(before, after) : 100;
      await pause(Math.max(0, gap - (performance.now() - started)));
    }
  }

  async function follow() {
    let after = 0;
    while (true) {
      try {
        const answer = await state.source.newest(after);
        after = answer.after;
        if (answer.status) say(answer.status);
        if (rows.size === 0) listClasses(answer.classes); // the node may start after this page
        if (answer.frame && state.playing) {
          const frame = await decoded(answer.frame);
          say("");
          adopt(frame);
          byId("position").textContent = `result ${after}`;
        }
      } catch (error) {
        say(`the connection to segmif view is lost (${error.message}); start it again`, true);
        after = 0; // a new one counts from the beginning
        await pause(1000);
      }
    }
  }

  function setPlaying(playing) {
    if (state.playing === playing) return;
    state.playing = playing;
    const { live } = state.source.info;
    byId("play").textContent = playing ? "Pause" : live ? "Resume" : "Play";
    byId("play").setAttribute("aria-pressed", String(playing));
    if (!playing || live) return;
    if (state.index + 1 >= state.source.info.count) state.index = -1;
    play();
  }

  // ---- events -----------------------------------------------------------------------------------

  const KEYS = {
    " ": () => setPlaying(!state.playing),
    ArrowLeft: (step) => stepBy(-step),
    ArrowRight: (step) => stepBy(step),
    Home: () => !state.source.info.live && go(0),
    End: () => !state.source.info.live && go(state.source.info.count - 1),
    "[": () => setWipe(state.wipe - 5),
    "]": () => setWipe(state.wipe + 5),
    b: () => byId("blend").click(),
    p: () => setPicking(!pick.on),
    l: () => setLayer(LAYERS[(LAYERS.indexOf(state.layer) + 1) % LAYERS.length]),
    "+": () => setZoom(2 * state.zoom),
    "-": () => setZoom(state.zoom / 2),
    1: () => enlarge("visible"),
    2: () => enlarge("thermal"),
    3: () => enlarge("fused"),
    4: () => enlarge("classes"),
  };
  const MOVES = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  function stepBy(by) {
    if (state.source.info.live) return;
    setPlaying(false);
    go(state.index + by);
  }

  function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || !state.source) return;
    const target = event.target;
    const step = event.shiftKey ? 10 : 1;
    if (target.tagName === "CANVAS" && MOVES[event.key]) {
      const { x, y } = state.cursor || { x: 0, y: 0 };
      const [dx, dy] = MOVES[event.key];
      point(x + step * dx, y + step * dy, true, document.activeElement.closest(".pane")?.dataset.pane);
      event.preventDefault();
      return;
    }
    // A control that uses the key itself keeps it.
    if (target.closest("select")) return;
    if (target.closest("summary, input[type=range]") && /^(Arrow|Home|End| )/.test(event.key)) return;
    if (target.closest("button, input") && event.key === " ") return;
    // In a report the page around the viewer scrolls with these keys.
    const elsewhere = !root.contains(target) && document.querySelector("[data-report]");
    const action = KEYS[event.key];
    if (!action || elsewhere) return;
    action(step);
    event.preventDefault();
  }

  function listen() {
    byId("wipe").addEventListener("input", (event) => setWipe(Number(event.target.value)));
    byId("blend").addEventListener("change", (event) => { state.blend = event.target.checked; draw(); });
    byId("zoom").addEventListener("change", (event) => setZoom(Number(event.target.value)));
    byId("layer").addEventListener("change", (event) => setLayer(event.target.value));
    byId("alpha").addEventListener("input", (event) => {
      state.alpha = event.target.value / 100;
      byId("alpha-text").textContent = `${event.target.value} %`;
      if (state.frame) drawClasses();
    });
    byId("floor").addEventListener("input", (event) => {
      state.floor = Number(event.target.value);
      byId("floor-text").textContent = `${state.floor} % confidence`;
      if (state.frame) drawClasses();
    });
    for (const [name, shown] of [["all", true], ["none", false]]) {
      byId(name).addEventListener("click", () => {
        for (const id of rows.keys()) showClass(id, shown);
        if (state.frame) drawClasses();
      });
    }
    for (const [name, pane] of panes) {
      pane.querySelector(".enlarge").addEventListener("click", () => enlarge(name));
      const canvas = pane.querySelector("canvas");
      canvas.addEventListener("pointermove", pointAt);
      canvas.addEventListener("pointerdown", pointAt);
      canvas.addEventListener("focus", () => { if (!state.cursor && state.frame) point(state.frame.width >> 1, state.frame.height >> 1, true); });
    }
    byId("pick").addEventListener("click", () => setPicking(!pick.on));
    byId("point-back").addEventListener("click", () => { if (!pick.thermal) pick.pairs.pop(); pick.thermal = null; listPicked(); });
    byId("previous").addEventListener("click", () => stepBy(-1));
    byId("next").addEventListener("click", () => stepBy(1));
    byId("play").addEventListener("click", () => setPlaying(!state.playing));
    byId("scrub").addEventListener("input", (event) => { setPlaying(false); go(Number(event.target.value)); });
    document.addEventListener("keydown", onKey);
  }

  async function start() {
    const block = document.getElementById("segmif-frames");
    try {
      state.source = block ? embedded(block) : await served();
    } catch (error) {
      say(`no answer from segmif view (${error.message}); is it still running?`, true);
      return;
    }
    const { info } = state.source;
    listClasses(info.classes);
    listen();
    if (info.live) {
      byId("transport").classList.add("live");
      setPlaying(true);
      follow();
      return;
    }
    byId("scrub").max = Math.max(0, info.count - 1);
    if (info.count === 0) say("there are no pictures");
    else await go(0);
  }

  start();
})();
