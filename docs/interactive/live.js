// "A U-Net that learns while you look": the book's own Python trains a small U-Net in the page.

class LivePiece {
  constructor(root) {
    this.root = root;
    this.pixel = [30, 30];
    this.runs = []; // each { mistake, losses }: the last one is under way, those before it stay gray
    this.build();
  }

  build() {
    const button = (text, action, name) => {
      const element = html("button", { "data-do": name }, text);
      element.addEventListener("click", action);
      return element;
    };
    const slider = (name, label, options, show) => {
      const input = html("input", { type: "range", name, ...options }), value = html("output");
      const update = () => (value.textContent = show(Number(input.value)));
      input.addEventListener("input", update);
      update();
      this[name] = input;
      return html("label", {}, `${label} `, input, " ", value);
    };
    this.startButton = button("Load Python and start", () => this.toggle(), "start");
    this.stepButton = button("One step", () => this.train(1), "step");
    this.overButton = button("Start over", () => this.startOver(), "over");
    this.mistake = html("select", { "aria-label": "Which backward to use" }, html("option", { value: "" }, "the right one"));
    this.mistake.addEventListener("change", () => this.startOver());
    this.status = html("p", { class: "status", "aria-live": "polite" },
      "Python, NumPy and tinyunet itself run here, in your browser, once they are loaded (17 MB).");
    const canvas = (name, label, text) => {
      this[name] = html("canvas", { "data-picture": name, role: "img", "aria-label": label });
      return html("figure", {}, html("figcaption", {}, text), this[name]);
    };
    this.plot = svg("svg", { viewBox: "0 0 300 170", class: "plot loss", role: "img", "aria-label": "The loss over the steps" });
    this.filters = html("div", { class: "filters" });
    this.legend = html("p", { class: "legend" });
    this.u = html("div", { class: "u" });
    this.see = html("div", { class: "see", hidden: "" },
      html("div", { class: "pictures" }, canvas("photo", "a photograph that it does not learn from", "A scene it never learns from"),
        canvas("classes", "the prediction", "What it sees: choose a pixel"), canvas("truth", "the truth", "The truth")),
      this.legend,
      html("div", { class: "bench" },
        html("section", {}, html("h4", {}, "The loss of each step"), this.plot),
        html("section", {}, html("h4", {}, "The first filters"), this.filters)),
      html("h4", {}, "The gradient of the chosen pixel, flowing back"),
      html("p", { class: "hint" }, "How much each place matters for the score of that pixel: from the right side of the U down and up to the image. Through the skips it arrives sharp, through the bottom wide."),
      this.u);
    this.root.replaceChildren(
      html("div", { class: "row" }, this.startButton, this.stepButton, this.overButton, html("label", {}, "backward: ", this.mistake)),
      html("div", { class: "row" },
        slider("lr", "learning rate", { min: -4, max: -1, step: 0.25, value: -2.25 }, (n) => (10 ** n).toPrecision(1)),
        slider("batch", "images a step", { min: 1, max: 4, step: 1, value: 2 }, String)),
      this.status, this.see);
    this.classes.tabIndex = 0;
    this.classes.addEventListener("pointerdown", (event) => {
      const box = this.classes.getBoundingClientRect();
      this.choose([(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width].map((at) => Math.floor(at * this.size)));
    });
    this.classes.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-4, 0], ArrowDown: [4, 0], ArrowLeft: [0, -4], ArrowRight: [0, 4] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.choose(this.pixel.map((at, axis) => at + step[axis]));
    });
    for (const one of [this.stepButton, this.overButton]) one.disabled = true;
    for (const [name, place] of [["image", 1], ["", 0], ["", 0], ["encoder.0", 1], ["", 0], ["decoder.1", 1], ["encoder.1", 0.7], ["", 0], ["decoder.0", 0.7], ["", 0], ["bottleneck", 0.5]]) {
      if (!name) {
        this.u.append(html("span"));
        continue;
      }
      const map = html("canvas", { "data-map": name, role: "img", "aria-label": `gradient at ${name}` });
      map.style.width = `${100 * place}%`;
      this.u.append(html("figure", {}, map, html("figcaption", {}, name.replace(/\.(\d)/, (_, n) => ` ${Number(n) + 1}`))));
    }
  }

  // -- Talking to Python --------------------------------------------------------------------------

  async load() {
    this.startButton.disabled = true;
    try {
      this.python = new Python("live_training", (text) => (this.status.textContent = text));
      const { photo, truth, size, mistakes, names } = await this.python.call("start");
      this.size = size;
      this.legend.replaceChildren(...names.map((name, k) => {
        const entry = html("span", {}, name);
        entry.style.borderColor = CLASS_COLORS[k];
        return entry;
      }));
      paint(this.photo, size, size, (at) => photo.slice(3 * at, 3 * at + 3));
      paint(this.truth, size, size, (at) => rgb(CLASS_COLORS[truth[at]]));
      this.mistake.append(...mistakes.filter(Boolean).map((one) => html("option", { value: one }, one)));
    } catch (error) {
      this.python.stop();
      this.python = null;
      this.status.textContent = PYTHON_FAILED + error.message.trim().split("\n").at(-1);
      return false;
    } finally {
      this.startButton.disabled = false;
    }
    for (const one of [this.stepButton, this.overButton]) one.disabled = false;
    this.see.hidden = false;
    this.runs = [{ mistake: "", losses: [] }];
    return true;
  }

  async toggle() {
    if (!this.python && !(await this.load())) return;
    this.running = !this.running;
    this.startButton.textContent = this.running ? "Pause" : "Go on";
    while (this.running) await this.train(1);
  }

  // Calls come one after the other: a click while a step is under way waits for its turn.
  train(count) {
    this.turn = (this.turn || Promise.resolve()).then(() => this.trainNow(count));
    return this.turn;
  }

  async trainNow(count) {
    const run = this.runs.at(-1);
    try {
      const seen = await this.python.call("steps", {
        count, lr: 10 ** Number(this.lr.value), batchSize: Number(this.batch.value),
        mistake: this.mistake.value, row: this.pixel[0], column: this.pixel[1],
      });
      if (run !== this.runs.at(-1)) return; // started over meanwhile
      run.losses.push(...seen.losses);
      this.show(seen);
    } catch (error) {
      this.running = false;
      this.status.textContent = `Python stopped: ${error.message}`;
    }
  }

  async startOver() {
    if (!this.python) return;
    this.runs.push({ mistake: this.mistake.value, losses: [] });
    this.turn = (this.turn || Promise.resolve()).then(() => this.python.call("start_over"));
    await this.turn;
    if (!this.running) await this.train(0);
  }

  choose(pixel) {
    this.pixel = pixel.map((at) => Math.min(this.size - 1, Math.max(0, at)));
    if (!this.running) this.train(0);
  }

  // -- Showing -------------------------------------------------------------------------------------

  show({ classes, maps, filters, steps, right }) {
    const colors = CLASS_COLORS.map(rgb), [row, column] = this.pixel, size = this.size;
    const isMarked = (at) => {
      const away = Math.max(Math.abs(Math.floor(at / size) - row), Math.abs((at % size) - column));
      return away === 2;
    };
    paint(this.classes, size, size, (at) => (isMarked(at) ? [0, 0, 0] : colors[classes[at]]));
    for (const [name, map] of Object.entries(maps))
      paint(this.u.querySelector(`[data-map="${name}"]`), map[0].length, map.length, (at) => cellColor(map[Math.floor(at / map[0].length)][at % map[0].length], 1));
    this.filters.replaceChildren(...filters.map((filter) => {
      const canvas = html("canvas");
      paint(canvas, 3, 3, (at) => filter.slice(3 * at, 3 * at + 3).map((value) => 255 * value));
      return canvas;
    }));
    this.root.dataset.steps = steps;
    const last = this.runs.at(-1).losses.at(-1);
    this.status.textContent = `Step ${steps}` + (last === undefined ? "" : `: loss ${last.toFixed(2)}`) +
      `. Of the scene below, ${(100 * right).toFixed(0)} % of the pixels are right.`;
    this.drawLoss();
  }

  // A running mean over the last ten steps: single batches jump up and down.
  drawLoss() {
    const longest = Math.max(20, ...this.runs.map(({ losses }) => losses.length));
    const across = (step) => 34 + (step / longest) * 258, down = (loss) => 140 - Math.min(2, loss) * 62;
    this.plot.replaceChildren();
    for (const loss of [0, 1, 2]) {
      svg("line", { x1: 34, x2: 292, y1: down(loss), y2: down(loss), class: "rule" }, this.plot);
      svg("text", { x: 28, y: down(loss) + 4, "text-anchor": "end" }, this.plot).textContent = loss;
    }
    for (const step of [0, longest])
      svg("text", { x: across(step), y: 155, "text-anchor": step ? "end" : "start" }, this.plot).textContent = step;
    svg("text", { x: 163, y: 166, "text-anchor": "middle" }, this.plot).textContent = "step (bold: this run; orange: broken)";
    this.runs.forEach(({ losses, mistake }, number) => {
      const smooth = losses.map((_, k) => sum(losses.slice(Math.max(0, k - 9), k + 1)) / Math.min(10, k + 1));
      const line = svg("polyline", { points: smooth.map((loss, k) => `${across(k)},${down(loss)}`).join(" ") }, this.plot);
      line.setAttribute("class", `run${number === this.runs.length - 1 ? " now" : ""}${mistake ? " broken" : ""}`);
      svg("title", {}, line).textContent = mistake || "the right backward";
    });
  }
}
