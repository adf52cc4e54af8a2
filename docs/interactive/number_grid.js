// A grid of numbers in SVG: point at one, drag it sideways, or type.
//
// Only one cell of a grid takes the focus when one tabs through the page; from there the arrow keys
// move on, as in a spreadsheet.

const SVG = "http://www.w3.org/2000/svg";
const CELL = 40;

function svg(name, attributes = {}, parent = null) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (parent) parent.append(element);
  return element;
}

function html(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// From orange over paper to blue, as in the book's figures: the sign counts.
function cellColor(number, largest) {
  const paper = [239, 233, 219], end = number < 0 ? [199, 127, 26] : [31, 95, 143];
  const share = Math.min(1, Math.abs(number) / (largest || 1));
  return paper.map((channel, k) => Math.round(channel + share * (end[k] - channel)));
}

const isDark = ([red, green, blue]) => 0.3 * red + 0.59 * green + 0.11 * blue < 135;

class NumberGrid {
  // name: what stands above it, and in formulas; caption: what it is, in words;
  // label: what it is called where `name` is not what a reader expects;
  // onPoint(name, place, isChosen): somebody points at a cell, or chooses it by click, tap or key;
  // onLeave(): points elsewhere; onChange(name, place, number), if editable.
  constructor({ name, label = name, caption, rows, columns, onPoint, onLeave, onChange = null }) {
    Object.assign(this, { name, label, rows, columns, onPoint, onChange, typed: "", typedAt: 0 });
    this.svg = svg("svg", {
      viewBox: `-2 -2 ${columns * CELL + 4} ${rows * CELL + 4}`,
      class: "number-grid" + (onChange ? " editable" : ""),
      role: "group",
      "aria-label": `${label}: ${caption}`,
    });
    this.svg.style.maxWidth = `${columns * CELL * 0.9}px`;
    this.svg.addEventListener("pointerleave", () => this.dragged || onLeave());
    this.element = html("figure", { class: "grid", "data-grid": name },
      html("figcaption", {}, html("b", {}, label), " ", caption), this.svg);
    this.cells = mapGrid(zeros(rows, columns), (_, i, j) => this.makeCell(i, j));
    this.cells[0][0].group.setAttribute("tabindex", 0);
    this.frames = svg("g", { class: "frames" }, this.svg);
  }

  makeCell(i, j) {
    const group = svg("g", {
      transform: `translate(${j * CELL} ${i * CELL})`,
      tabindex: -1,
      role: this.onChange ? "spinbutton" : "img",
      "data-place": `${i},${j}`,
    }, this.svg);
    const square = svg("rect", { width: CELL, height: CELL }, group);
    const text = svg("text", { x: CELL / 2, y: CELL / 2, class: "number" }, group);
    const term = svg("text", { x: 4, y: 11, class: "term" }, group);
    group.addEventListener("pointerenter", () => this.dragged || this.onPoint(this.name, [i, j], false));
    group.addEventListener("focus", () => {
      this.typed = "";
      this.onPoint(this.name, [i, j], true);
    });
    group.addEventListener("pointerdown", (event) => this.startDragging(event, [i, j]));
    group.addEventListener("keydown", (event) => this.key(event, [i, j]));
    return { group, square, text, term };
  }

  startDragging(event, [i, j]) {
    this.focus([i, j]);
    if (!this.onChange) return;
    const { group } = this.cells[i][j], start = event.clientX, before = this.numbers[i][j];
    this.dragged = true;
    group.setPointerCapture(event.pointerId);
    const move = (now) => {
      const number = Math.round((before + Math.round((now.clientX - start) / 12)) * 1e6) / 1e6;
      if (number !== this.numbers[i][j]) this.onChange(this.name, [i, j], number);
    };
    const end = () => {
      this.dragged = false;
      group.removeEventListener("pointermove", move);
    };
    group.addEventListener("pointermove", move);
    for (const over of ["pointerup", "pointercancel"]) group.addEventListener(over, end, { once: true });
  }

  key(event, [i, j]) {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step && !event.shiftKey) {
      const row = i + step[0], column = j + step[1];
      if (row >= 0 && row < this.rows && column >= 0 && column < this.columns) this.focus([row, column]);
      event.preventDefault();
    } else if (this.onChange && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      this.typed = "";
      this.onChange(this.name, [i, j], this.numbers[i][j] - step[0]);
      event.preventDefault();
    } else if (this.onChange && (/^[-.0-9]$/.test(event.key) || event.key === "Backspace")) {
      // After a pause, a digit begins a new number.
      if (event.key !== "Backspace" && event.timeStamp - this.typedAt > 2000) this.typed = "";
      this.typedAt = event.timeStamp;
      this.typed = event.key === "Backspace" ? this.typed.slice(0, -1) : this.typed + event.key;
      if (Number.isFinite(Number(this.typed))) this.onChange(this.name, [i, j], Number(this.typed));
      event.preventDefault();
    }
  }

  focus([i, j]) {
    for (const cell of this.cells.flat()) cell.group.setAttribute("tabindex", -1);
    this.cells[i][j].group.setAttribute("tabindex", 0);
    this.cells[i][j].group.focus({ preventScroll: true });
  }

  show(numbers, largest = Math.max(...numbers.flat().map(Math.abs))) {
    this.numbers = numbers;
    for (const [i, j] of places(numbers)) {
      const { group, square, text } = this.cells[i][j], color = cellColor(numbers[i][j], largest);
      square.setAttribute("fill", `rgb(${color})`);
      group.classList.toggle("on-dark", isDark(color));
      text.textContent = shortNumber(numbers[i][j], 2);
      text.setAttribute("font-size", text.textContent.length > 4 ? 12 : 15);
      const label = `${this.label} row ${i}, column ${j}: ${shortNumber(numbers[i][j])}`;
      group.setAttribute("aria-label", label);
      if (this.onChange) group.setAttribute("aria-valuenow", numbers[i][j]);
    }
  }

  // Light cells up: a list of { place, term }, where a term is the letter of a product.
  light(lit, selected = null) {
    for (const { group, term } of this.cells.flat()) {
      group.classList.remove("lit");
      term.textContent = "";
    }
    this.frames.replaceChildren(); // drawn over all cells, so that each frame is whole
    for (const { place: [i, j], term } of lit) {
      this.cells[i][j].group.classList.add("lit");
      this.cells[i][j].term.textContent = term || "";
      this.frame([i, j], "lit");
    }
    if (selected) this.frame(selected, "selected");
  }

  frame([i, j], kind) {
    const corner = { x: j * CELL, y: i * CELL, width: CELL, height: CELL };
    svg("rect", { ...corner, class: kind }, this.frames);
  }
}
