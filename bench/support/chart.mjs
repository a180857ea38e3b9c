/**
 * Bars of two series side by side, as SVG.
 *
 * @param {object} chart
 * @param {string} chart.title
 * @param {string} chart.note
 * @param {readonly [string, string]} chart.series
 * @param {readonly { name: string, values: readonly [number, number] }[]} chart.rows
 */
export function chart({ title, note, series, rows }) {
  const [left, width, bar, gap, top] = [190, 430, 13, 12, 64];
  const height = top + rows.length * (2 * bar + gap) + 34;
  const most = Math.max(1, ...rows.flatMap(({ values }) => values));
  const x = (/** @type {number} */ value) => (value / most) * width;
  const colours = ['#4063d8', '#e08b3c'];
  const bars = rows.map(({ name, values }, i) => {
    const y = top + i * (2 * bar + gap);
    return [
      `<text x="${left - 10}" y="${y + bar + 4}" text-anchor="end">${escape(name)}</text>`,
      ...values.map((value, j) => {
        const at = y + j * bar;
        return (
          `<rect x="${left}" y="${at}" width="${x(value).toFixed(1)}" height="${bar - 1}" fill="${colours[j]}"/>` +
          `<text x="${(left + x(value) + 5).toFixed(1)}" y="${at + bar - 3}" font-size="10">${value.toFixed(2)}</text>`
        );
      }),
    ].join('\n');
  });
  const legend = series.map(
    (name, j) =>
      `<rect x="${left + j * 90}" y="36" width="10" height="10" fill="${colours[j]}"/>` +
      `<text x="${left + 15 + j * 90}" y="45">${escape(name)}</text>`,
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
