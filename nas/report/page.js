"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const element = id => document.getElementById(id);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  const ids = data.models;
  let selected = null;

  const colour = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const theme = () => Object.fromEntries(
    ["surface", "paper", "ink", "soft", "line", "grid", "accent", "mark", "dot"].map(name => [name, colour(name)]));
  const pick = (points, axis, key) => points.map(point => point[axis][key]);

  function axis(title, c, more = {}) {
    return {
      title: {text: title, font: {size: 13, color: c.soft}, standoff: 12}, automargin: true, gridcolor: c.grid,
      linecolor: c.line, zeroline: false, tickfont: {size: 12, color: c.soft}, nticks: 7, ...more,
    };
  }

  function layout(c, more) {
    return {
      font: {family: getComputedStyle(document.body).fontFamily, size: 13, color: c.ink},
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: {l: 8, r: 12, t: 12, b: 8},
      hovermode: "closest", dragmode: touch.matches ? false : "zoom", showlegend: false,
      hoverlabel: {bgcolor: c.surface, bordercolor: c.line, align: "left", font: {color: c.ink, size: 13}},
      ...more,
    };
  }

  const bars = (up, down, c) => ({type: "data", symmetric: false, array: up, arrayminus: down, color: c.mark, thickness: 1.5, width: 4});
  const dots = (points, name, marker) => ({
    type: "scatter", mode: "markers", name, x: points.x, y: points.y, text: points.text, hoverinfo: "text", marker,
  });

  function markers(names, c) {
    const chosen = names.map(id => id === selected);
    return {
      size: chosen.map(yes => yes ? 17 : 11), color: c.mark, opacity: 1,
      line: {color: chosen.map(yes => yes ? c.ink : c.surface), width: chosen.map(yes => yes ? 2.5 : 1.5)},
    };
  }

  function bound(axis, index, c) {
    if (axis.bound === null) return null;
    const [along, across] = index ? ["y", "x"] : ["x", "y"];
    const shape = {type: "line", [along + "0"]: axis.bound, [along + "1"]: axis.bound, [across + "0"]: 0, [across + "1"]: 1,
      [across + "ref"]: "paper", line: {color: c.soft, width: 1, dash: "5px,4px"}};
    const at = axis.log ? Math.log10(axis.bound) : axis.bound;
    const text = {text: axis.bound_text, showarrow: false, font: {size: 12, color: c.soft}, [along]: at, [across]: index ? 0 : 1,
      [across + "ref"]: "paper", xanchor: index ? "left" : "right", yanchor: index ? "bottom" : "top", xshift: index ? 5 : -5};
    return {shape, text};
  }

  function range(axis) {
    if (axis.log) return {type: "log"};
    return axis.top === null ? {rangemode: "tozero"} : {range: [0, axis.top], autorange: false};
  }

  function paretoTraces(c) {
    const {evaluated, excluded, believed, front} = data.pareto;
    return [
      dots(excluded, "out of bounds", {size: 5, color: c.dot, opacity: 0.45, symbol: "circle-open"}),
      dots(evaluated, "evaluated", {size: 6, color: c.dot, opacity: 0.45}),
      {type: "scatter", mode: "lines", name: "believed front", x: believed.x, y: believed.y, hoverinfo: "skip",
        line: {shape: data.pareto.step, color: c.soft, width: 1.2}},
      {type: "scatter", mode: "markers", name: "measured", x: pick(front, "x", "value"), y: pick(front, "y", "value"),
        text: front.map(point => point.text), hoverinfo: "text", customdata: front.map(point => point.id),
        error_x: bars(pick(front, "x", "up"), pick(front, "x", "down"), c),
        error_y: bars(pick(front, "y", "up"), pick(front, "y", "down"), c),
        marker: markers(front.map(point => point.id), c), cliponaxis: false},
    ];
  }

  function paretoLayout(c) {
    const [x, y] = data.pareto.axes;
    const bounds = [bound(x, 0, c), bound(y, 1, c)].filter(Boolean);
    return layout(c, {
      xaxis: axis(x.title, c, range(x)), yaxis: axis(y.title, c, range(y)),
      shapes: bounds.map(b => b.shape), annotations: bounds.map(b => b.text),
    });
  }

  function latencyTraces(c) {
    const points = data.latency;
    const all = [...points.believed, ...points.measured];
    const [low, high] = [Math.min(...all) * 0.8, Math.max(...all) * 1.12];
    const line = (factor, more) => ({type: "scatter", mode: "lines", x: [low, high], y: [low * factor, high * factor],
      hoverinfo: "skip", line: {color: c.soft, width: 0}, ...more});
    return [
      line(1 - points.tolerance), line(1 + points.tolerance, {fill: "tonexty", fillcolor: c.grid}),
      line(1, {line: {color: c.soft, width: 1}}),
      {type: "scatter", mode: "markers", x: points.measured, y: points.believed, text: points.text, hoverinfo: "text",
        customdata: points.id, error_x: bars(points.up, points.down, c), marker: markers(points.id, c)},
    ];
  }

  function qualityTraces(c) {
    const both = [...data.quality.x, ...data.quality.y], ends = [Math.min(...both), Math.max(...both)];
    return [{type: "scatter", mode: "lines", x: ends, y: ends, hoverinfo: "skip", line: {color: c.soft, width: 1}},
      dots(data.quality, "compared", {size: 9, color: c.accent})];
  }

  function curve(values, first, unit, c) {
    return [{type: "scatter", mode: values.length > 1 ? "lines" : "markers", x: values.map((_, i) => i + first), y: values,
      line: {color: c.accent, width: 2}, marker: {color: c.accent}, hovertemplate: "%{y:.4~g}" + unit + "<extra>%{x}</extra>"}];
  }

  function plot(id, traces, shown) {
    return Plotly.react(element(id), traces, shown, {responsive: true, displayModeBar: false, scrollZoom: false});
  }

  function draw() {
    const c = theme();
    const drawn = [plot("pareto", paretoTraces(c), paretoLayout(c))];
    const show = (id, there, traces, shown) => {
      element(id).hidden = !there;
      if (there) drawn.push(plot(id, traces(), layout(c, shown)));
    };
    show("latency", data.latency.id.length, () => latencyTraces(c),
      {xaxis: axis("measured (ms)", c), yaxis: axis("predicted (ms)", c)});
    show("volume", data.volume.length, () => curve(data.volume.map(v => 100 * v), 1, " %", c),
      {xaxis: axis("evaluations", c), yaxis: axis("hypervolume (%)", c)});
    show("history", data.history.length, () => curve(data.history, 1, "", c),
      {xaxis: axis("epoch", c), yaxis: axis("loss", c, {rangemode: "tozero"})});
    if (data.quality) show("quality", true, () => qualityTraces(c),
      {xaxis: axis("error, trained alone (%)", c), yaxis: axis("error, shared weights (%)", c)});
    return Promise.all(drawn);
  }

  function outside(axis, index) {
    const {evaluated, excluded} = data.pareto, key = index ? "y" : "x";
    const above = axis.top === null ? 0 : [...evaluated[key], ...excluded[key]].filter(value => value > axis.top).length;
    return (above ? `${above} evaluated architecture${above > 1 ? "s lie" : " lies"} above the chart. ` : "") + axis.far;
  }

  function noteOutside() {
    const note = element("outside");
    note.textContent = data.pareto.axes.map(outside).join(" ").trim();
    note.hidden = !note.textContent;
  }

  function select(id, remember = true) {
    if (!ids.includes(id) || id === selected) return;
    selected = id;
    document.querySelectorAll(".model").forEach(model => { model.hidden = model.dataset.model !== id; });
    document.querySelectorAll("tbody tr").forEach(row => row.classList.toggle("selected", row.dataset.model === id));
    element("model-list").value = id;
    if (remember) {
      element("status").textContent = "Selected model " + element("model-list").selectedOptions[0].textContent;
      history.replaceState(null, "", "#" + encodeURIComponent(id));
    }
    highlight();
  }

  function highlight() {
    const c = theme();
    if (element("pareto").data) Plotly.restyle("pareto", {marker: [markers(data.pareto.front.map(p => p.id), c)]}, [3]);
    if (element("latency").data) Plotly.restyle("latency", {marker: [markers(data.latency.id, c)]}, [3]);
  }

  const step = by => select(ids[Math.min(ids.length - 1, Math.max(0, ids.indexOf(selected) + by))]);
  const fromHash = () => decodeURIComponent(location.hash.slice(1));

  function listen() {
    for (const id of ["pareto", "latency"]) {
      if (element(id).on) element(id).on("plotly_click", event => {
        const point = event.points.find(point => point.customdata);
        if (point) select(point.customdata);
      });
    }
    element("pareto").addEventListener("keydown", event => {
      const by = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
      if (by) { event.preventDefault(); step(by); }
    });
    element("previous").addEventListener("click", () => step(-1));
    element("next").addEventListener("click", () => step(1));
    element("model-list").addEventListener("change", event => select(event.target.value));
    addEventListener("hashchange", () => select(fromHash(), false));
    dark.addEventListener("change", draw);
    document.addEventListener("click", event => {
      const link = event.target.closest("[data-select]");
      const row = event.target.closest("tbody tr");
      if (link) { event.preventDefault(); select(link.dataset.select); element("front-heading").scrollIntoView(); }
      else if (row) select(row.dataset.model);
    });
    document.querySelectorAll("thead button").forEach(button => button.addEventListener("click", () => sort(button)));
  }

  function sort(button) {
    const head = button.closest("th");
    const column = [...head.parentNode.children].indexOf(head);
    const up = head.getAttribute("aria-sort") !== "ascending";
    const body = element("front").tBodies[0];
    const key = row => Number(row.cells[column].dataset.key || (up ? Infinity : -Infinity));
    head.parentNode.querySelectorAll("th").forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    body.append(...[...body.rows].sort((a, b) => (up ? 1 : -1) * (key(a) - key(b)) || 0));
  }

  noteOutside();
  select(ids.includes(fromHash()) ? fromHash() : data.first, false);
  draw().then(() => { listen(); document.documentElement.dataset.ready = "true"; });
})();
