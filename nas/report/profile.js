"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const theme = () => Object.fromEntries(
    ["surface", "ink", "soft", "line", "grid", "mark"].map(name => [name, colour(name)]));

  function axis(title, c, more = {}) {
    return {
      title: {text: title, font: {size: 13, color: c.soft}, standoff: 12}, automargin: true, gridcolor: c.grid,
      linecolor: c.line, zeroline: false, tickfont: {size: 12, color: c.soft}, nticks: 7, ...more,
    };
  }

  function layout(c, xaxis, yaxis, shapes) {
    return {
      font: {family: getComputedStyle(document.body).fontFamily, size: 13, color: c.ink}, xaxis, yaxis, shapes,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: {l: 8, r: 12, t: 12, b: 8},
      hovermode: "closest", showlegend: false,
      hoverlabel: {bgcolor: c.surface, bordercolor: c.line, align: "left", font: {color: c.ink, size: 13}},
    };
  }

  function points(x, y, c, more = {}) {
    return [{type: "scatter", mode: "markers", x, y, text: data.text, hoverinfo: "text",
      marker: {size: 9, color: c.mark, line: {color: c.surface, width: 1}}, ...more}];
  }

  function draw() {
    const c = theme(), options = {responsive: true, displayModeBar: false};
    const end = 1.08 * Math.max(...data.measured, ...data.believed);
    const band = {type: "path", path: `M 0,0 L ${end},${1.1 * end} L ${end},${0.9 * end} Z`, fillcolor: c.grid,
      opacity: 0.6, layer: "below", line: {width: 0}};
    const equal = {type: "line", x0: 0, y0: 0, x1: end, y1: end, line: {color: c.soft, width: 1}, layer: "below"};
    const whiskers = {error_y: {type: "data", symmetric: false, array: data.up, arrayminus: data.down, color: c.mark,
      thickness: 1, width: 3}};
    Plotly.react("latency", points(data.measured, data.believed, c, whiskers),
      layout(c, axis("measured latency (ms)", c, {range: [0, end]}), axis("predicted latency (ms)", c, {range: [0, end]}),
        [band, equal]), options);
    const within = {type: "rect", xref: "paper", x0: 0, x1: 1, y0: -10, y1: 10, fillcolor: c.grid, opacity: 0.6,
      layer: "below", line: {width: 0}};
    const zero = {type: "line", xref: "paper", x0: 0, x1: 1, y0: 0, y1: 0, line: {color: c.soft, width: 1}, layer: "below"};
    Plotly.react("errors", points(data.measured, data.errors, c),
      layout(c, axis("measured latency (ms)", c, {rangemode: "tozero"}), axis("relative error (%)", c), [within, zero]),
      options);
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
