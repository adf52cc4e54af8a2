// A small painted landscape that one can build in: the rules are those of tinyunet/data/scenes.py,
// where the network's training images come from. Colors are chosen by material, never by class.

const SIZE = 96;
const GRASS = 0, LEAVES = 1, GRAY = 2;
const MATERIALS = [
  [[88, 124, 58], [126, 152, 74], [188, 180, 114]], // grass: lush, mown, dry
  [[44, 78, 42], [64, 98, 48], [96, 124, 62]], // leaves
  [[104, 106, 112], [150, 150, 152], [206, 200, 190]], // slate and asphalt to concrete
];
const ROUGHNESS = [1, 1, 0.4]; // how much the tone varies within one thing

// A generator of random numbers (mulberry32), so that a scene is the same every time.
function randomNumbers(seed) {
  const uniform = () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal, between: (low, high) => low + (high - low) * uniform() };
}

// Random hills about `grain` pixels wide, between a coarse grid of random numbers (bicubic).
function smoothNoise(grain, random) {
  const count = Math.floor(SIZE / grain) + 2;
  const coarse = Array.from({ length: count }, () => Array.from({ length: count }, random.normal));
  const cubic = (t) => {
    const d = Math.abs(t);
    return d < 1 ? (1.5 * d - 2.5) * d * d + 1 : d < 2 ? ((-0.5 * d + 2.5) * d - 4) * d + 2 : 0;
  };
  const stretch = (line) =>
    Array.from({ length: SIZE }, (_, i) => {
      const place = ((i + 0.5) * count) / SIZE - 0.5;
      let total = 0, weights = 0;
      for (let k = Math.floor(place) - 1; k <= Math.floor(place) + 2; k++)
        if (line[k] !== undefined) {
          total += cubic(place - k) * line[k];
          weights += cubic(place - k);
        }
      return total / weights;
    });
  const rows = coarse.map(stretch); // stretched sideways; now each column
  const columns = Array.from({ length: SIZE }, (_, j) => stretch(rows.map((row) => row[j])));
  return Float32Array.from({ length: SIZE * SIZE }, (_, at) => columns[at % SIZE][Math.floor(at / SIZE)]);
}

class Scene {
  constructor(seed = 3) {
    const random = randomNumbers(seed);
    this.coarse = smoothNoise(24, random);
    this.fine = smoothNoise(4, random);
    this.leaves = smoothNoise(2, random);
    this.grain = Float32Array.from({ length: SIZE * SIZE }, random.normal);
    this.field = random.between(0.3, 0.6);
    this.sun = [Math.sin(4.2), Math.cos(4.2)];
    this.seed = seed;
    this.things = [];
  }

  // A tree { kind: "tree", y, x }, a roof { kind: "roof", y, x, angle } or a piece of road
  // { kind: "road", from: [y, x], to: [y, x] }. What a tree looks like comes from its number.
  add(thing) {
    const random = randomNumbers(this.seed + 97 * (this.things.length + 1));
    this.things.push({ radius: random.between(3.2, 4.4), tone: random.uniform(), ...thing });
  }

  trees() {
    return this.things.filter(({ kind }) => kind === "tree").length;
  }

  // Build the maps of material, tone and height: first the field, then roads, roofs, trees.
  build() {
    const pixels = SIZE * SIZE;
    const land = { material: new Uint8Array(pixels), tone: new Float32Array(pixels), height: new Float32Array(pixels) };
    const put = (at, material, tone, height = 0) => {
      land.material[at] = material;
      land.tone[at] = tone;
      land.height[at] = height;
    };
    for (let at = 0; at < pixels; at++) {
      const stripes = Math.sin(((at % SIZE) * 0.8 + Math.floor(at / SIZE) * 0.6) * ((2 * Math.PI) / 7));
      put(at, GRASS, this.field + 0.04 * stripes);
    }
    const draw = { road: drawRoad, roof: drawRoof, tree: drawTree };
    for (const kind of ["road", "roof", "tree"])
      for (const thing of this.things)
        if (thing.kind === kind)
          for (let at = 0; at < pixels; at++) draw[kind](thing, Math.floor(at / SIZE), at % SIZE, land, at, put);
    return land;
  }

  // Color the materials, light them, add noise and a soft lens; gives SIZE * SIZE * 3 bytes.
  photograph() {
    const land = this.build();
    const light = sunlight(land, this.leaves, this.sun);
    const image = new Float32Array(SIZE * SIZE * 3);
    for (let at = 0; at < SIZE * SIZE; at++) {
      const material = land.material[at];
      const texture = 0.12 * (this.coarse[at] + this.fine[at]) * ROUGHNESS[material];
      const tone = 2 * Math.min(1, Math.max(0, land.tone[at] + texture));
      const [dark, middle, bright] = MATERIALS[material];
      for (let c = 0; c < 3; c++) {
        const color = dark[c] + (middle[c] - dark[c]) * Math.min(tone, 1) + (bright[c] - middle[c]) * Math.max(tone - 1, 0);
        image[3 * at + c] = Math.min(255, Math.max(0, color * light(at)[c] + 5 * this.grain[at]));
      }
    }
    return Uint8Array.from(blur(image));
  }
}

// Like the painted roads: 8 pixels wide.
function drawRoad({ from, to, tone }, i, j, land, at, put) {
  const along = [to[0] - from[0], to[1] - from[1]], length2 = along[0] ** 2 + along[1] ** 2 || 1;
  const share = Math.min(1, Math.max(0, ((i - from[0]) * along[0] + (j - from[1]) * along[1]) / length2));
  const distance = Math.hypot(i - from[0] - share * along[0], j - from[1] - share * along[1]);
  if (distance < 4.2) put(at, GRAY, 0.3 + 0.4 * (tone > 0.5));
}

// A gabled roof in a small garden.
function drawRoof({ y, x, angle = 0.3, tone }, i, j, land, at, put) {
  const along = Math.abs((j - x) * Math.cos(angle) + (i - y) * Math.sin(angle));
  const across = Math.abs((i - y) * Math.cos(angle) - (j - x) * Math.sin(angle));
  const outside = Math.max(along - 11, across - 7.5); // beyond the nearest wall
  if (outside < 0) put(at, GRAY, tone, 9 - 0.5 * across);
  else if (outside < 5 && land.material[at] === GRASS) put(at, GRASS, 0.2);
}

// A round crown, half a ball on a trunk.
function drawTree({ y, x, radius, tone }, i, j, land, at, put) {
  const distance2 = (i - y) ** 2 + (j - x) ** 2;
  const height = 1.5 + 1.1 * Math.sqrt(Math.max(0, radius ** 2 - distance2));
  if (distance2 < radius ** 2 && height > land.height[at]) put(at, LEAVES, tone, height);
}

// How brightly each pixel is lit: by its slope and by the shadows of what stands towards the sun.
function sunlight({ material, height }, leaves, sun) {
  const clip = (number, low, high) => Math.min(high, Math.max(low, number));
  const inside = (n) => clip(n, 0, SIZE - 1);
  const heightAt = (i, j) => height[inside(i) * SIZE + inside(j)];
  const leafyAt = (i, j) => {
    const at = inside(i) * SIZE + inside(j);
    return height[at] + (material[at] === LEAVES ? 0.8 * leaves[at] : 0);
  };
  return (at) => {
    const i = Math.floor(at / SIZE), j = at % SIZE;
    const slopeY = (leafyAt(i + 1, j) - leafyAt(i - 1, j)) / 2, slopeX = (leafyAt(i, j + 1) - leafyAt(i, j - 1)) / 2;
    const facing = height[at] > 0 ? clip(-slopeY * sun[0] - slopeX * sun[1], -0.6, 0.6) : 0;
    let shadow = 0;
    for (let distance = 1; distance < 12; distance++) {
      const there = heightAt(i + Math.round(sun[0] * distance), j + Math.round(sun[1] * distance));
      shadow = Math.max(shadow, clip(there - height[at] - 1.25 * distance, 0, 1));
    }
    const direct = (0.62 + 0.4 * facing) * (1 - shadow); // the sky lights the shadows, bluish
    return [0.36 + 1.06 * direct, 0.4 + 1.02 * direct, 0.47 + 0.96 * direct];
  };
}

// A lens that is a little soft: a Gaussian with a standard deviation of 0.6 pixels.
function blur(image) {
  const weights = [-2, -1, 0, 1, 2].map((d) => Math.exp((-d * d) / (2 * 0.36)));
  const total = weights.reduce((a, b) => a + b);
  const along = (source, step, index) =>
    source.map((_, place) => {
      const here = index(place);
      let result = 0;
      for (let d = -2; d <= 2; d++) {
        const there = Math.min(SIZE - 1, Math.max(0, here + d));
        result += (weights[d + 2] / total) * source[place + (there - here) * step];
      }
      return result;
    });
  const sideways = along(image, 3, (place) => Math.floor(place / 3) % SIZE);
  return along(sideways, 3 * SIZE, (place) => Math.floor(place / 3 / SIZE));
}
