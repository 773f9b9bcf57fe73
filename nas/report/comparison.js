"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const hues = ["#3366cc", "#d9730d", "#2a9d5c", "#b3379b", "#8a6d1f", "#0f8b9d", "#c0392b", "#6b5bd2", "#7a7a7a", "#4d7c0f", "#a05195"];

  function traces(which) {
    return Object.entries(data.competitors).flatMap(([name, found], number) => {
      const {low, median, high} = found[which], hue = hues[number % hues.length];
      const x = median.map((_, index) => index + 1), own = {x, type: "scatter", mode: "lines", legendgroup: name};
      return [
        {...own, y: low, line: {width: 0}, showlegend: false, hoverinfo: "skip"},
        {...own, y: high, line: {width: 0}, fill: "tonexty", fillcolor: hue + "22", showlegend: false, hoverinfo: "skip"},
        {...own, y: median, name, line: {color: hue, width: 2}},
      ];
    });
  }

  function axis(title) {
    return {title: {text: title}, automargin: true, gridcolor: colour("grid"), linecolor: colour("line"), zeroline: false};
  }

  function draw() {
    for (const [id, title] of [["hypervolume", "share of the hypervolume"], ["best", data.first]])
      Plotly.react(id, traces(id), {
        font: {family: getComputedStyle(document.body).fontFamily, size: 13, color: colour("ink")},
        xaxis: axis("evaluations"), yaxis: axis(title), legend: {orientation: "h", y: -0.25},
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: {l: 8, r: 12, t: 12, b: 8},
      }, {responsive: true, displayModeBar: false});
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
