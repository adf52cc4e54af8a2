// A U-Net's way forward in plain JavaScript. Images are flat arrays, channels last: the number of
// channel c at row i, column j stands at (i * width + j) * channels + c.

// 16 bits to a number: a sign, an exponent of 5 bits, a fraction of 10.
function decodeFloat16(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  const halves = new Uint16Array(bytes.buffer);
  return Float32Array.from(halves, (half) => {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    return exponent ? sign * 2 ** (exponent - 15) * (1 + fraction / 1024) : sign * 2 ** -24 * fraction;
  });
}

// Cut the long row of weights into the arrays that the network's layers are named by.
function namedWeights(model) {
  const numbers = decodeFloat16(model.weights), named = {};
  let start = 0;
  for (const [name, shape] of Object.entries(model.shapes)) {
    const size = shape.reduce((product, length) => product * length, 1);
    named[name] = numbers.subarray(start, (start += size));
  }
  return named;
}

// A convolution with a kernel of size x size, the border padded with zeros; then ReLU, if wanted.
function convolve(x, weight, bias, size, withRelu) {
  const filters = bias.length, { data, height, width, channels } = x, reach = (size - 1) / 2;
  const y = new Float32Array(height * width * filters), sums = new Float64Array(filters);
  for (let i = 0; i < height; i++)
    for (let j = 0; j < width; j++) {
      sums.set(bias);
      for (let u = Math.max(0, reach - i); u < Math.min(size, height - i + reach); u++)
        for (let v = Math.max(0, reach - j); v < Math.min(size, width - j + reach); v++) {
          const pixel = ((i + u - reach) * width + j + v - reach) * channels;
          let tap = (u * size + v) * channels * filters;
          for (let c = 0; c < channels; c++) {
            const value = data[pixel + c];
            if (value === 0) tap += filters; // after a ReLU, often
            else for (let f = 0; f < filters; f++) sums[f] += value * weight[tap++];
          }
        }
      const place = (i * width + j) * filters;
      for (let f = 0; f < filters; f++) y[place + f] = withRelu && sums[f] < 0 ? 0 : sums[f];
    }
  return { data: y, height, width, channels: filters };
}

// The largest of each 2 x 2 window.
function maxPool({ data, height, width, channels }) {
  const y = new Float32Array(data.length / 4), down = width * channels;
  for (let i = 0; i < height; i += 2)
    for (let j = 0; j < width; j += 2)
      for (let c = 0; c < channels; c++) {
        const at = (i * width + j) * channels + c;
        y[((i / 2) * (width / 2) + j / 2) * channels + c] = Math.max(
          data[at], data[at + channels], data[at + down], data[at + down + channels]);
      }
  return { data: y, height: height / 2, width: width / 2, channels };
}

// The transposed convolution, 2 x 2 with stride 2: each pixel becomes a square of four.
function double({ data, height, width, channels }, weight, bias) {
  const filters = bias.length, y = new Float32Array(4 * height * width * filters);
  for (let i = 0; i < 2 * height; i++)
    for (let j = 0; j < 2 * width; j++)
      for (let f = 0; f < filters; f++) {
        const pixel = ((i >> 1) * width + (j >> 1)) * channels;
        const tap = (((i & 1) * 2 + (j & 1)) * filters + f) * channels;
        let total = bias[f];
        for (let c = 0; c < channels; c++) total += data[pixel + c] * weight[tap + c];
        y[(i * 2 * width + j) * filters + f] = total;
      }
  return { data: y, height: 2 * height, width: 2 * width, channels: filters };
}

// The skip connection: the channels of both, side by side. A skip that was cut brings only zeros.
function concatenate(skip, x, isCut) {
  const channels = skip.channels + x.channels, y = new Float32Array(x.height * x.width * channels);
  for (let pixel = 0; pixel < x.height * x.width; pixel++) {
    const at = pixel * channels;
    if (!isCut) y.set(skip.data.subarray(pixel * skip.channels, (pixel + 1) * skip.channels), at);
    y.set(x.data.subarray(pixel * x.channels, (pixel + 1) * x.channels), at + skip.channels);
  }
  return { ...x, data: y, channels };
}

// The whole U. `image` holds bytes, red green blue; cut[level] says which skips bring nothing.
function runUNet(model, weights, image, size, cut = []) {
  const maps = {}, skips = [];
  const block = (x, name) => {
    for (const conv of ["conv1", "conv2"])
      x = convolve(x, weights[`${name}.${conv}.weight`], weights[`${name}.${conv}.bias`], 3, true);
    return (maps[name] = x);
  };
  const data = Float32Array.from(image, (value, at) => (value - model.mean[at % 3]) / model.std[at % 3]);
  let x = { data, height: size, width: size, channels: 3 };
  for (let level = 0; level < model.depth; level++) {
    x = block(x, `encoder.${level}`);
    skips.push(x);
    x = maxPool(x);
  }
  x = block(x, "bottleneck");
  for (let step = 0; step < model.depth; step++) {
    const level = model.depth - 1 - step;
    x = double(x, weights[`upsamplers.${step}.weight`], weights[`upsamplers.${step}.bias`]);
    x = block(concatenate(skips[level], x, cut[level]), `decoder.${step}`);
  }
  return { logits: convolve(x, weights["head.weight"], weights["head.bias"], 1, false).data, maps };
}

// Which class has the largest logit, pixel by pixel.
function largestClass(logits, classes) {
  return Uint8Array.from({ length: logits.length / classes }, (_, pixel) => {
    const row = logits.subarray(pixel * classes, (pixel + 1) * classes);
    return row.indexOf(Math.max(...row));
  });
}

// Run the network beside the page, in a worker, so that the page never stutters. A page that is
// opened from a disk may not load a worker from a file: so it is made from the functions' own text.
function startNetworkWorker(model, onResult) {
  const functions = [decodeFloat16, namedWeights, convolve, maxPool, double, concatenate, runUNet];
  const main = `
    let model, weights;
    onmessage = ({ data }) => {
      if (data.model) { model = data.model; weights = namedWeights(model); return; }
      postMessage(runUNet(model, weights, data.image, data.size, data.cut));
    };`;
  const source = functions.map(String).join("\n") + main;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  worker.postMessage({ model });
  let asked = null, waiting = null; // of the questions that come meanwhile only the last one counts
  worker.onmessage = ({ data }) => {
    const question = asked;
    asked = null;
    onResult(data, question);
    if (waiting) ask(waiting);
  };
  function ask(question) {
    waiting = asked ? question : null;
    if (asked) return;
    asked = question;
    worker.postMessage(question);
  }
  return ask;
}
