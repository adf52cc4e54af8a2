// "How many trees make an orchard?": build in a painted landscape, and see with each stroke what a
// trained network makes of it, level by level. Each skip connection can be cut.

const CLASS_COLORS = ["#e69f00", "#f0e442", "#009e73", "#d55e00", "#56b4e9"]; // as in all figures
const FRAME = { from: 24, to: 72 }; // the middle, where the shares are counted

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));

// Draw numbers, one color a pixel, on a canvas of just as many pixels.
function paint(canvas, width, height, colorOf) {
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"), image = context.createImageData(width, height);
  for (let at = 0; at < width * height; at++) image.data.set([...colorOf(at), 255], 4 * at);
  context.putImageData(image, 0, 0);
}

class OrchardPiece {
  constructor(root) {
    this.root = root;
    this.cut = Array(ORCHARD_MODEL.depth).fill(false);
    this.cursor = [48, 48];
    this.build();
    this.ask = startNetworkWorker(ORCHARD_MODEL, (...answer) => this.show(...answer));
    this.clear();
  }

  build() {
    const button = (text, action, attributes = {}) => {
      const element = html("button", attributes, text);
      element.addEventListener("click", action);
      return element;
    };
    this.tools = ["tree", "road", "house", "remove"].map((tool) =>
      button({ tree: "Plant a tree", road: "Draw a road", house: "Build a house", remove: "Remove" }[tool],
        () => this.choose(tool), { "data-tool": tool }));
    const rows = [1, 4, 9, 16, 25].map((count) =>
      button(String(count), () => this.plantRows(Math.sqrt(count)), { "data-rows": count, "aria-label": `${count} trees in rows` }));
    this.photo = html("canvas", { class: "photo", tabindex: 0, role: "application",
      "aria-label": "The photograph. Arrows move the cursor, Enter builds, Backspace takes back." });
    this.map = html("canvas", { class: "map", role: "img", "aria-label": "What the network sees" });
    this.marker = html("div", { class: "cursor" });
    this.saying = html("p", { class: "saying", "aria-live": "polite" });
    this.bars = html("div", { class: "bars" });
    this.plot = svg("svg", { viewBox: "0 0 300 150", class: "plot", role: "img",
      "aria-label": "Share of orchard meadow over the number of trees" });
    this.u = html("div", { class: "u" });
    this.root.replaceChildren(
      html("div", { class: "row" }, ...this.tools),
      html("div", { class: "row" }, html("span", {}, "Trees in rows:"), ...rows,
        button("90 crowded", () => this.plantForest(), { "data-forest": "" }),
        button("Undo", () => this.undo(), { "data-undo": "" }), button("Clear", () => this.clear(), { "data-clear": "" })),
      html("div", { class: "pictures" },
        html("figure", {}, html("figcaption", {}, "Photograph: click to build"), html("div", { class: "framed" }, this.photo, this.marker)),
        html("figure", {}, html("figcaption", {}, "What the network sees"), html("div", { class: "framed" }, this.map)),
        html("div", { class: "answer" }, this.saying, this.bars, this.plot)),
      html("h4", {}, "How it gets there: down the left side, up the right, skips across"),
      html("p", { class: "hint" }, "Inside, the network makes many maps from the photograph; here is one of each level, blue where its numbers are large. Click a skip connection to cut it, and look at the house and the road: their outlines came through it. The small maps below know what there is, but only roughly where."),
      this.u);
    this.buildU();
    this.choose("tree");
    this.photo.addEventListener("pointerdown", (event) => this.press(event));
    this.photo.addEventListener("keydown", (event) => this.key(event));
  }

  // The U: a row for each level, its maps left and right, and the skip between them.
  buildU() {
    const { depth, base_channels: base } = ORCHARD_MODEL;
    const view = (name, level) => {
      const canvas = html("canvas", { "data-map": name, role: "img", "aria-label": `a map of ${name}` });
      canvas.style.width = `${100 - 17 * level}%`;
      return html("figure", {}, canvas, html("figcaption", {}, `${SIZE >> level} x ${SIZE >> level}, ${base << level} channels`));
    };
    this.skips = Array.from({ length: depth }, (_, level) => {
      const skip = html("button", { class: "skip", "aria-pressed": "false", "data-skip": level });
      skip.addEventListener("click", () => {
        this.cut[level] = !this.cut[level];
        skip.setAttribute("aria-pressed", this.cut[level]);
        this.labelSkip(level);
        this.compute();
      });
      return skip;
    });
    for (let level = 0; level < depth; level++)
      this.u.append(view(`encoder.${level}`, level), this.skips[level], view(`decoder.${depth - 1 - level}`, level));
    this.u.append(html("span", { class: "turn" }, "pool \u2198"), view("bottleneck", depth), html("span", { class: "turn" }, "\u2197 up"));
    this.cut.forEach((_, level) => this.labelSkip(level));
  }

  labelSkip(level) {
    const arrow = svg("svg", { viewBox: "0 0 120 24", "aria-hidden": "true" });
    svg("path", { d: this.cut[level] ? "M4 12 H44 M76 12 H108" : "M4 12 H108" }, arrow);
    svg("path", { d: "M106 5 L117 12 L106 19 Z", class: "head" }, arrow);
    this.skips[level].replaceChildren(arrow, this.cut[level] ? "cut: brings zeros" : `skip ${level + 1}`);
  }

  // -- Building ---------------------------------------------------------------------------------

  choose(tool) {
    this.tool = tool;
    this.roadFrom = null;
    for (const button of this.tools) button.setAttribute("aria-pressed", button.dataset.tool === tool);
    this.photo.style.touchAction = tool === "road" ? "none" : "pan-y";
  }

  place(event) {
    const box = this.photo.getBoundingClientRect();
    return [((event.clientY - box.top) / box.height) * SIZE, ((event.clientX - box.left) / box.width) * SIZE];
  }

  press(event) {
    this.cursor = this.place(event).map(Math.floor);
    if (this.tool !== "road") {
      this.use(this.place(event));
      return;
    }
    this.scene.add({ kind: "road", from: this.place(event), to: this.place(event) });
    const road = this.scene.things.at(-1);
    const move = (now) => {
      road.to = this.place(now);
      this.compute();
    };
    this.photo.setPointerCapture(event.pointerId);
    this.photo.addEventListener("pointermove", move);
    for (const over of ["pointerup", "pointercancel"])
      this.photo.addEventListener(over, () => this.photo.removeEventListener("pointermove", move), { once: true });
  }

  // What the chosen tool does at a place; a road needs two places.
  use([y, x]) {
    if (this.tool === "tree") this.scene.add({ kind: "tree", y, x });
    if (this.tool === "house") this.scene.add({ kind: "roof", y, x, angle: 0.4 * this.scene.things.length });
    if (this.tool === "remove") this.remove([y, x]);
    if (this.tool === "road") {
      if (this.roadFrom) this.scene.add({ kind: "road", from: this.roadFrom, to: [y, x] });
      this.roadFrom = this.roadFrom ? null : [y, x];
    }
    this.compute();
  }

  remove([y, x]) {
    const distance = (thing) => {
      const [row, column] = thing.kind === "road" ? thing.from.map((n, k) => (n + thing.to[k]) / 2) : [thing.y, thing.x];
      return Math.hypot(row - y, column - x);
    };
    const nearest = [...this.scene.things].sort((one, other) => distance(one) - distance(other))[0];
    if (nearest && distance(nearest) < 15) this.scene.things.splice(this.scene.things.indexOf(nearest), 1);
  }

  key(event) {
    const step = { ArrowUp: [-4, 0], ArrowDown: [4, 0], ArrowLeft: [0, -4], ArrowRight: [0, 4] }[event.key];
    if (step) this.cursor = this.cursor.map((at, axis) => Math.min(SIZE - 1, Math.max(0, at + step[axis])));
    else if (event.key === "Enter" || event.key === " ") this.use(this.cursor.map((at) => at + 0.5));
    else if (event.key === "Backspace") this.undo();
    else return;
    event.preventDefault();
    this.showCursor();
  }

  showCursor() {
    this.marker.style.top = `${((this.cursor[0] + 0.5) / SIZE) * 100}%`;
    this.marker.style.left = `${((this.cursor[1] + 0.5) / SIZE) * 100}%`;
  }

  undo() {
    this.scene.things.pop();
    this.compute();
  }

  // A meadow with a road and a house at its edge.
  freshScene() {
    this.scene = new Scene();
    this.scene.add({ kind: "road", from: [100, 72], to: [58, 100] });
    this.scene.add({ kind: "roof", y: 11, x: 83, angle: 0.25 });
  }

  clear() {
    this.freshScene();
    for (const [level, skip] of this.skips.entries()) if (this.cut[level]) skip.click();
    this.history = new Map();
    this.showCursor();
    this.compute();
  }

  plantRows(side) {
    this.freshScene();
    for (let i = 0; i < side; i++)
      for (let j = 0; j < side; j++)
        this.scene.add({ kind: "tree", y: 48 + 12.5 * (i - (side - 1) / 2), x: 48 + 12.5 * (j - (side - 1) / 2) });
    this.compute();
  }

  plantForest() {
    const random = randomNumbers(1);
    this.freshScene();
    for (let count = 0; count < 90; count++)
      this.scene.add({ kind: "tree", y: random.between(20, 76), x: random.between(20, 76) });
    this.compute();
  }

  // -- Showing ----------------------------------------------------------------------------------

  compute() {
    const image = this.scene.photograph();
    paint(this.photo, SIZE, SIZE, (at) => image.subarray(3 * at, 3 * at + 3));
    this.ask({ image, size: SIZE, cut: [...this.cut], trees: this.scene.trees() });
  }

  show({ logits, maps }, { trees, cut }) {
    const classes = ORCHARD_MODEL.classNames, best = largestClass(logits, classes.length);
    const colors = CLASS_COLORS.map(rgb);
    paint(this.map, SIZE, SIZE, (at) => colors[best[at]]);
    const counts = classes.map(() => 0);
    for (let i = FRAME.from; i < FRAME.to; i++) for (let j = FRAME.from; j < FRAME.to; j++) counts[best[i * SIZE + j]]++;
    const shares = counts.map((count) => (100 * count) / (FRAME.to - FRAME.from) ** 2);
    this.showShares(classes, shares, trees, cut.filter(Boolean).length);
    for (const [name, { data, height, width, channels }] of Object.entries(maps)) {
      const chosen = ORCHARD_MODEL.channels[name];
      const values = Float32Array.from({ length: height * width }, (_, at) => data[at * channels + chosen]);
      const low = Math.min(...values), range = Math.max(...values) - low || 1;
      const canvas = this.u.querySelector(`[data-map="${name}"]`);
      paint(canvas, width, height, (at) => cellColor((values[at] - low) / range, 1));
    }
    this.root.dataset.answers = Number(this.root.dataset.answers || 0) + 1; // for those who wait
  }

  showShares(classes, shares, trees, cut) {
    this.saying.replaceChildren(html("b", {}, `${trees} ${trees === 1 ? "tree" : "trees"}: `),
      `${shares[0].toFixed(0)} % of the framed square is orchard meadow`, cut ? `, with ${cut} of 3 skips cut.` : ".");
    this.bars.replaceChildren(...classes.map((name, k) => {
      const bar = html("div", { class: "bar" }, html("i", {}), html("span", {}, `${name} ${shares[k].toFixed(0)} %`));
      bar.style.borderColor = CLASS_COLORS[k];
      bar.firstChild.style.cssText = `width: ${shares[k]}%; background: ${CLASS_COLORS[k]}`;
      return bar;
    }));
    if (!cut && trees <= 30) this.history.set(trees, shares[0]);
    this.drawPlot(trees);
  }

  drawPlot(now) {
    const across = (trees) => 44 + (trees / 30) * 248, down = (share) => 112 - share;
    this.plot.replaceChildren();
    for (const share of [0, 50, 100]) {
      svg("line", { x1: 36, x2: 292, y1: down(share), y2: down(share), class: "rule" }, this.plot);
      svg("text", { x: 32, y: down(share) + 4, "text-anchor": "end" }, this.plot).textContent = `${share} %`;
    }
    for (const trees of [0, 10, 20, 30])
      svg("text", { x: across(trees), y: 128, "text-anchor": "middle" }, this.plot).textContent = trees;
    svg("text", { x: 163, y: 144, "text-anchor": "middle" }, this.plot).textContent = "trees; upwards, orchard meadow";
    for (const [trees, share] of this.history)
      svg("circle", { cx: across(trees), cy: down(share), r: trees === now ? 6 : 4 }, this.plot);
  }
}
