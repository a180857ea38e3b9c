/** In pairs: the second of each is the darker one. */
const COLOURS = ['#b7c4f0', '#4063d8', '#f3d3b1', '#e08b3c'];

/**
 * Bars of up to four series side by side, as SVG.
 *
 * @param {object} chart
 * @param {string} chart.title
 * @param {string} chart.note
 * @param {readonly string[]} chart.series
 * @param {readonly { name: string, values: readonly (number | undefined)[] }[]} chart.rows a series may lack a value
 */
export function chart({ title, note, series, rows }) {
  const [left, width, bar, gap, top] = [160, 460, 13, 12, 64];
  const most = Math.max(1, ...rows.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const x = (/** @type {number} */ value) => (value / most) * width;
  let y = top;
  const bars = rows.map(({ name, values }) => {
    const there = values.flatMap((value, j) => (value === undefined ? [] : [{ value, colour: COLOURS[j] }]));
    const middle = y + (there.length * bar) / 2;
    const lines = [`<text x="${left - 10}" y="${middle + 4}" text-anchor="end">${escape(name)}</text>`];
    for (const { value, colour } of there) {
      lines.push(
        `<rect x="${left}" y="${y}" width="${x(value).toFixed(1)}" height="${bar - 1}" fill="${colour}"/>` +
          `<text x="${(left + x(value) + 5).toFixed(1)}" y="${y + bar - 3}" font-size="10">${value.toFixed(2)}</text>`,
      );
      y += bar;
    }
    y += gap;
    return lines.join('\n');
  });
  const height = y + 34;
  const legend = series.map(
    (name, j) =>
      `<rect x="${left + j * 125}" y="36" width="10" height="10" fill="${COLOURS[j]}"/>` +
      `<text x="${left + 15 + j * 125}" y="45">${escape(name)}</text>`,
  );
  const bare = (left + x(1)).toFixed(1);
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${left + width + 60}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">
<rect width="100%" height="100%" fill="#fff"/>
<text x="12" y="22" font-size="14" font-weight="600">${escape(title)}</text>
${legend.join('\n')}
<line x1="${bare}" y1="${top - 6}" x2="${bare}" y2="${height - 30}" stroke="#888" stroke-dasharray="3 3"/>
${bars.join('\n')}
<text x="12" y="${height - 12}" font-size="10" fill="#666">${escape(note)}</text>
</svg>
`;
}

/** @param {string} text */
function escape(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
