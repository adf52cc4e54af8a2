// The operations of "The backward in your hands": small arrays, every single product visible.
//
// An array is a list of rows. A convolution is a list of *taps*: "this weight connects this pixel of
// the image with that pixel of the result". With that list the forward and all backwards are one
// line each, and the page can show which products make up a number.

const zeros = (rows, columns) => Array.from({ length: rows }, () => new Array(columns).fill(0));
const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);
const mapGrid = (grid, change) => grid.map((row, i) => row.map((number, j) => change(number, i, j)));

// Every index [i, j] of a grid, row by row.
const places = (grid) => grid.flatMap((row, i) => row.map((_, j) => [i, j]));

// y[i, j] = sum of x[i + u, j + v] * weight[u, v]
function convolutionTaps(x, weight) {
  const taps = [];
  for (const [i, j] of places(zeros(x.length - weight.length + 1, x[0].length - weight[0].length + 1)))
    for (const [u, v] of places(weight)) taps.push({ x: [i + u, j + v], weight: [u, v], y: [i, j] });
  return taps;
}

// The other way round: pixel (i, j) lays the kernel, times x[i, j], at (stride i, stride j) of y.
function transposedTaps(x, weight, stride = 2) {
  const taps = [];
  for (const [i, j] of places(x))
    for (const [u, v] of places(weight))
      taps.push({ x: [i, j], weight: [u, v], y: [stride * i + u, stride * j + v] });
  return taps;
}

// Both convolutions, once their taps are known.
function linearOperation(makeTaps) {
  return {
    forward({ x, weight }) {
      const taps = makeTaps(x, weight);
      const last = (axis) => Math.max(...taps.map((tap) => tap.y[axis])) + 1;
      const y = zeros(last(0), last(1));
      for (const tap of taps)
        y[tap.y[0]][tap.y[1]] += x[tap.x[0]][tap.x[1]] * weight[tap.weight[0]][tap.weight[1]];
      return y;
    },
    backward({ x, weight }, dy) {
      const dx = mapGrid(x, () => 0), dweight = mapGrid(weight, () => 0);
      for (const tap of makeTaps(x, weight)) {
        const slope = dy[tap.y[0]][tap.y[1]];
        dx[tap.x[0]][tap.x[1]] += slope * weight[tap.weight[0]][tap.weight[1]];
        dweight[tap.weight[0]][tap.weight[1]] += slope * x[tap.x[0]][tap.x[1]];
      }
      return { x: dx, weight: dweight };
    },
    taps: ({ x, weight }) => makeTaps(x, weight),
  };
}

// Where the largest of each 2 x 2 window stands; the first in reading order if several are equal.
function winners(x) {
  return mapGrid(zeros(x.length / 2, x[0].length / 2), (_, i, j) => {
    let best = [2 * i, 2 * j];
    for (const [u, v] of [[0, 1], [1, 0], [1, 1]])
      if (x[2 * i + u][2 * j + v] > x[best[0]][best[1]]) best = [2 * i + u, 2 * j + v];
    return best;
  });
}

const maxPooling = {
  forward: ({ x }) => mapGrid(winners(x), ([row, column]) => x[row][column]),
  backward({ x }, dy) {
    const dx = mapGrid(x, () => 0), winner = winners(x);
    for (const [i, j] of places(dy)) dx[winner[i][j][0]][winner[i][j][1]] = dy[i][j];
    return { x: dx };
  },
};

// One pixel a row, one class a column; labels[i] is the true class of pixel i.
function softmax(logits) {
  return logits.map((row) => {
    const exponentials = row.map((z) => Math.exp(z - Math.max(...row)));
    return exponentials.map((e) => e / sum(exponentials));
  });
}

const crossEntropy = {
  forward({ x, labels }) {
    const losses = x.map((row, i) => {
      const largest = Math.max(...row);
      return Math.log(sum(row.map((z) => Math.exp(z - largest)))) - (row[labels[i]] - largest);
    });
    return [[sum(losses) / x.length]];
  },
  backward({ x, labels }, dy) {
    const dlogits = mapGrid(softmax(x), (p, i, k) => ((p - (k === labels[i])) / x.length) * dy[0][0]);
    return { x: dlogits };
  },
};

const convolution = linearOperation(convolutionTaps);
const transposedConvolution = linearOperation(transposedTaps);

// Wrong backwards, from the gallery that the checker is tested with: the name there, its story, and
// what comes out. Each forward is right.
const turned = (grid) => [...grid].reverse().map((row) => [...row].reverse());

const wrongBackwards = {
  convolution: [
    {
      name: "convolution_whose_kernel_is_not_turned_around",
      label: "the kernel is not turned around",
      backward: (inputs, dy) => ({
        ...convolution.backward(inputs, dy),
        x: convolution.backward({ ...inputs, weight: turned(inputs.weight) }, dy).x,
      }),
    },
    {
      name: "im2col_that_overwrites_where_windows_overlap",
      label: "where windows overlap, the last one overwrites",
      backward(inputs, dy) {
        const dx = mapGrid(inputs.x, () => 0);
        for (const { x, weight, y } of convolution.taps(inputs))
          dx[x[0]][x[1]] = dy[y[0]][y[1]] * inputs.weight[weight[0]][weight[1]];
        return { ...convolution.backward(inputs, dy), x: dx };
      },
    },
    {
      name: "convolution_that_drops_a_tap",
      label: "the loop over the kernel ends one too early",
      backward(inputs, dy) {
        const right = convolution.backward(inputs, dy), { weight } = inputs;
        right.weight[weight.length - 1][weight[0].length - 1] = 0;
        return right;
      },
    },
    {
      name: "convolution_with_height_and_width_swapped",
      label: "height and width are swapped",
      backward(inputs, dy) {
        const right = convolution.backward(inputs, dy);
        return { ...right, weight: mapGrid(right.weight, (_, u, v) => right.weight[v][u]) };
      },
    },
    {
      name: "convolution_that_ignores_the_upstream",
      label: "dy is ignored, as if it were all ones",
      backward: (inputs, dy) => convolution.backward(inputs, mapGrid(dy, () => 1)),
    },
  ],
  maxPooling: [
    {
      name: "max_pool_that_gives_to_the_whole_window",
      label: "the whole window gets the winner's gradient",
      backward: ({ x }, dy) => ({ x: mapGrid(x, (_, i, j) => dy[i >> 1][j >> 1]) }),
    },
    {
      name: "max_pool_that_shares_among_the_window",
      label: "the gradient is shared, as in mean pooling",
      backward: ({ x }, dy) => ({ x: mapGrid(x, (_, i, j) => dy[i >> 1][j >> 1] / 4) }),
    },
    {
      name: "max_pool_that_swaps_row_and_column_of_the_winner",
      label: "row and column of the winner are swapped",
      backward({ x }, dy) {
        const right = maxPooling.backward({ x }, dy).x;
        const swap = (i, j) => right[2 * (i >> 1) + (j & 1)][2 * (j >> 1) + (i & 1)];
        return { x: mapGrid(x, (_, i, j) => swap(i, j)) };
      },
    },
  ],
  transposedConvolution: [
    {
      name: "transposed_convolution_that_turns_the_kernel_around",
      label: "the kernel is turned around, out of habit",
      backward: (inputs, dy) => ({
        ...transposedConvolution.backward(inputs, dy),
        x: transposedConvolution.backward({ ...inputs, weight: turned(inputs.weight) }, dy).x,
      }),
    },
    {
      name: "transposed_convolution_whose_gradient_is_never_stored",
      label: "the kernel's gradient is never stored",
      backward: (inputs, dy) => ({
        ...transposedConvolution.backward(inputs, dy),
        weight: mapGrid(inputs.weight, () => 0),
      }),
    },
  ],
  crossEntropy: [
    {
      name: "cross_entropy_not_divided_by_the_sum_of_weights",
      label: "not divided by the number of pixels",
      backward: ({ x, labels }, dy) => ({
        x: mapGrid(crossEntropy.backward({ x, labels }, dy).x, (slope) => slope * x.length),
      }),
    },
    {
      name: "cross_entropy_that_ignores_the_upstream",
      label: "dloss is ignored, as if it were 1",
      backward: (inputs) => crossEntropy.backward(inputs, [[1]]),
    },
  ],
};

// The scalar that a backward is checked with: L = sum of y * dy.
function scalarLoss(operation, inputs, dy) {
  return sum(operation.forward(inputs).flatMap((row, i) => row.map((y, j) => y * dy[i][j])));
}

// The same inputs, one number moved by h.
function moved(inputs, name, [i, j], h) {
  return { ...inputs, [name]: mapGrid(inputs[name], (n, r, c) => (r === i && c === j ? n + h : n)) };
}

// The central difference (L(x + h) - L(x - h)) / 2h.
function measuredSlope(operation, inputs, dy, name, place, h) {
  const loss = (step) => scalarLoss(operation, moved(inputs, name, place, step), dy);
  return (loss(h) - loss(-h)) / (2 * h);
}

// Where a backward is off, as tinyunet's checker says it: an empty text if all is well. (Which mistake
// that is, it says in mistakes.js.)
function checkBackward(operation, backward, inputs, dy, tolerance = 1e-6) {
  const claims = backward(inputs, dy);
  for (const name of Object.keys(claims)) {
    const measured = mapGrid(inputs[name], (_, i, j) =>
      measuredSlope(operation, inputs, dy, name, [i, j], 1e-5));
    const differences = mapGrid(measured, (slope, i, j) => Math.abs(slope - claims[name][i][j]));
    const all = [...measured.flat(), ...claims[name].flat()];
    const scale = Math.max(1e-9, ...all.map(Math.abs));
    const worst = Math.max(...differences.flat());
    if (worst <= tolerance * scale) continue;
    const [i, j] = places(measured).find(([row, column]) => differences[row][column] === worst);
    const wrong = differences.flat().filter((one) => one > tolerance * scale).length;
    return `Off at ${wrong} of ${differences.flat().length} entries, most at d${name}[${i}, ${j}]: backward ` +
      `says ${shortNumber(claims[name][i][j])}, measured is ${shortNumber(measured[i][j])}.`;
  }
  return "";
}

// 3, -0.5, 0.0833: at most three decimals, a real minus sign.
function shortNumber(number, digits = 3) {
  const rounded = Number(number.toFixed(digits));
  return String(Object.is(rounded, -0) ? 0 : rounded).replace("-", "\u2212");
}
